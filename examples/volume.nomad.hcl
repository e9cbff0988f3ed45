# A task that keeps its data in a dynamic host volume (volume.hcl).
job "volume" {
  meta {
    podman_user = "alice"
  }

  group "counter" {
    volume "data" {
      type            = "host"
      source          = "alice-data"
      access_mode     = "single-node-multi-writer"
      attachment_mode = "file-system"
    }

    task "counter" {
      driver = "podman"

      config {
        socket  = "alice"
        image   = "docker.io/library/busybox:1.37"
        command = "sh"
        args    = ["-c", "echo started >>/data/starts && echo \"starts: $(wc -l </data/starts)\" && exec sleep 86400"]
      }

      volume_mount {
        volume      = "data"
        destination = "/data"
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
