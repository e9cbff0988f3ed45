# What the agent's token needs: nothing that changes anything.
#
# What is missing is mostly not an error: without read-job Nomad answers with empty lists and a silent event stream.

# Allocations of all namespaces, with their jobs, and the event stream of them.
namespace "*" {
  capabilities = ["read-job"]
}

# The allocations of this node.
node {
  policy = "read"
}

# agent/self: data_dir, alloc_dir and the node's id.
agent {
  policy = "read"
}
