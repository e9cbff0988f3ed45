# The configuration of a Nomad client whose podman tasks run as root, as alice or as bob. Merge it into yours (/etc/nomad.d/).
data_dir = "/opt/nomad/data" # chmod 0700; nomad-rootless makes what users need visible to them

client {
  enabled = true
}

plugin "nomad-driver-podman" {
  config {
    # Where rootful tasks run too. The driver takes either socket_path or socket blocks, and tasks without `socket` use "default".
    socket {
      name        = "default"
      socket_path = "unix:///run/podman/podman.sock"
    }

    # One block for each user: the socket is the user's gate. `nomad-rootless setup USER…` prints them.
    socket {
      name        = "alice"
      socket_path = "unix:///run/nomad-rootless/gate/alice.sock"
    }

    socket {
      name        = "bob"
      socket_path = "unix:///run/nomad-rootless/gate/bob.sock"
    }

    # For volume blocks, and for `volumes` in a task's config.
    volumes {
      enabled = true
    }
  }
}
