# Two users in one group: they share alloc/data, and each has a local/ and secrets/ of their own. The group has no network namespace,
# since that can belong to one user only.
job "two-users" {
  group "exchange" {
    task "producer" {
      driver = "podman"

      meta {
        podman_user = "alice"
      }

      config {
        socket  = "alice"
        image   = "docker.io/library/busybox:1.37"
        command = "sh"
        args    = ["-c", "echo 'from alice' >/alloc/data/letter && exec sleep 86400"]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }

    task "consumer" {
      driver = "podman"

      meta {
        podman_user = "bob"
      }

      config {
        socket  = "bob"
        image   = "docker.io/library/busybox:1.37"
        command = "sh"
        args    = ["-c", "until cat /alloc/data/letter; do sleep 1; done; exec sleep 86400"]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
