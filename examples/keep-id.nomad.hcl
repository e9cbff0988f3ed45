# Inside the container the task has alice's own uid, so that what it writes belongs to alice and not to a subordinate ID. In a group
# with a network namespace this needs default_sysctls = [] in alice's containers.conf (docs/networking.md).
job "keep-id" {
  meta {
    podman_user = "alice"
  }

  group "files" {
    task "writer" {
      driver = "podman"

      config {
        socket  = "alice"
        image   = "docker.io/library/busybox:1.37"
        userns  = "keep-id"
        command = "sh"
        args    = ["-c", "echo written >/alloc/data/file && echo \"owner: $(stat -c %u /alloc/data/file)\" && exec sleep 86400"]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
