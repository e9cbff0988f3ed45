# The agent as a system job: one on each client, started by Nomad itself, with a workload identity instead of a token.
#
# On each client first: Node.js 24 or later, nomad-rootless at /usr/bin/nomad-rootless, and
#   plugin "raw_exec" { config { enabled = true } }
# On the cluster, where ACLs are on:
#   nomad acl policy apply -namespace default -job nomad-rootless nomad-rootless deploy/nomad/nomad-rootless.policy.hcl
job "nomad-rootless" {
  type     = "system"
  priority = 90

  # One node after the other, and no further where the new agent does not become ready. Nomad before 1.11 makes no deployments of
  # system jobs: it goes on after `stagger`, ready or not.
  update {
    max_parallel     = 1
    stagger          = "30s"
    health_check     = "checks"
    min_healthy_time = "10s"
    healthy_deadline = "3m"
    auto_revert      = true
  }

  group "agent" {
    # While there is no agent the driver finds no gate: nobody keeps the sockets, as systemd would.
    restart {
      attempts = 10
      interval = "1m"
      delay    = "1s"
      mode     = "delay"
    }

    # Nobody looks the service up; validation asks for one where there is a service.
    shutdown_delay = "1s"

    # Where metrics.address of the configuration is: Nomad's client asks there. No check_restart: the agent is not ready while Nomad
    # does not answer it, and starting it again mends nothing and opens a gap.
    service {
      name     = "nomad-rootless"
      provider = "nomad"
      address  = "127.0.0.1"
      port     = "4656"

      check {
        type     = "http"
        path     = "/readyz"
        interval = "10s"
        timeout  = "5s"
      }
    }

    task "agent" {
      # As Nomad's own user (root) in the host's namespaces: mounts and ACLs need it. exec would be a chroot.
      driver = "raw_exec"

      config {
        command = "/usr/bin/nomad-rootless"
        args    = ["agent", "--config", "${NOMAD_TASK_DIR}/config.yaml"]
      }

      # secrets/nomad_token, which Nomad renews. The variable NOMAD_TOKEN would win over the file and never be renewed.
      identity {
        env  = false
        file = true
      }

      env {
        NOMAD_ADDR = "unix://${NOMAD_SECRETS_DIR}/api.sock"
      }

      template {
        destination = "local/config.yaml"
        # Users, policy, tokens and the log's level; for other keys restart the task.
        change_mode   = "signal"
        change_signal = "SIGHUP"
        data        = <<-EOT
          nomad:
            token_file: {{ env "NOMAD_SECRETS_DIR" }}/nomad_token
          users:
            alice: {}
            bob: {}
        EOT
      }

      # Time for requests in flight to end; the client allows no more than its max_kill_timeout, 30s unless set.
      kill_timeout = "30s"

      resources {
        cpu    = 200
        memory = 192
      }
    }
  }
}
