# A web server in a network of its group's own. Port 80 inside needs no privilege; Nomad maps a port of the host to it.
job "bridge" {
  meta {
    podman_user = "alice"
  }

  group "web" {
    network {
      mode = "bridge"

      port "http" {
        to = 80
      }
    }

    task "web" {
      driver = "podman"

      config {
        socket  = "alice"
        image   = "docker.io/library/busybox:1.37"
        command = "sh"
        args    = ["-c", "mkdir -p /local/www && echo hello >/local/www/index.html && echo serving && exec httpd -f -p 80 -h /local/www"]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
