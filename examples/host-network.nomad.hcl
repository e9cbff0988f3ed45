# A web server in the host's network, on a port that Nomad chooses.
job "host-network" {
  meta {
    podman_user = "alice"
  }

  group "web" {
    network {
      mode = "host"
      port "http" {}
    }

    task "web" {
      driver = "podman"

      config {
        socket       = "alice"
        image        = "docker.io/library/busybox:1.37"
        network_mode = "host"
        command      = "sh"
        args         = ["-c", "mkdir -p /local/www && echo hello >/local/www/index.html && echo serving && exec httpd -f -p $NOMAD_PORT_http -h /local/www"]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
