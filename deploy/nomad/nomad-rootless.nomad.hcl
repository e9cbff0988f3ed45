# The agent as a system job: one on each client, started by Nomad itself, with a workload identity instead of a token.
#
# On each client first: Node.js 24 or later, nomad-rootless at /usr/bin/nomad-rootless, and
#   plugin "raw_exec" { config { enabled = true } }
# On the cluster, where ACLs are on:
#   nomad acl policy apply -namespace default -job nomad-rootless nomad-rootless deploy/nomad/nomad-rootless.policy.hcl
job "nomad-rootless" {
  type     = "system"
  priority = 90

  group "agent" {
    # While there is no agent the driver finds no gate: nobody keeps the sockets, as systemd would.
    restart {
      attempts = 10
      interval = "1m"
      delay    = "1s"
      mode     = "delay"
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
