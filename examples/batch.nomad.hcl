# A batch job: a prestart task prepares what the main task works on.
job "batch" {
  type = "batch"

  meta {
    podman_user = "alice"
  }

  group "sum" {
    task "prepare" {
      driver = "podman"

      lifecycle {
        hook = "prestart"
      }

      config {
        socket  = "alice"
        image   = "docker.io/library/busybox:1.37"
        command = "sh"
        args    = ["-c", "seq 1 100 >/alloc/data/numbers"]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }

    task "sum" {
      driver = "podman"

      config {
        socket  = "alice"
        image   = "docker.io/library/busybox:1.37"
        command = "sh"
        args    = ["-c", "awk '{ sum += $1 } END { print \"sum: \" sum }' /alloc/data/numbers"]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
