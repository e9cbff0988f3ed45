# A dynamic host volume that belongs to alice: nomad volume create examples/volume.hcl
type      = "host"
name      = "alice-data"
plugin_id = "mkdir"

capability {
  access_mode     = "single-node-multi-writer"
  attachment_mode = "file-system"
}

parameters {
  uid  = 1001 # alice's uid and gid on the node: id alice
  gid  = 1001
  mode = "0700"
}
