/** What a Nomad client is to be like. */
export interface ClientOptions {
  readonly dataDir: string;
  readonly pluginDir: string;
  /** Name of each socket block of the podman driver to the path of its socket. */
  readonly sockets: Readonly<Record<string, string>>;
  readonly acl: boolean;
}

const SERVER_HTTP_PORT = 5646;
const CLIENT_HTTP_PORT = 4646;

/** Where the server answers, and where the client does: on the loopback interface alone. */
export const SERVER_ADDRESS = `http://127.0.0.1:${SERVER_HTTP_PORT}`;
export const CLIENT_ADDRESS = `http://127.0.0.1:${CLIENT_HTTP_PORT}`;

/** Fingerprinters that ask the network and wait for answers that do not come. */
const SLOW_FINGERPRINTERS = 'env_aws,env_azure,env_gce,env_digitalocean,vault,consul';

/** The configuration, in HCL, of an agent that is a server alone: a cluster of one. */
export function serverConfig({ dataDir, acl }: Pick<ClientOptions, 'dataDir' | 'acl'>): string {
  return `${agentConfig(dataDir, SERVER_HTTP_PORT, acl)}
server {
  enabled          = true
  bootstrap_expect = 1
  raft_multiplier  = 1
}
`;
}

/** The configuration, in HCL, of an agent that is a client alone, with the podman driver and raw_exec. */
export function clientConfig({ dataDir, pluginDir, sockets, acl }: ClientOptions): string {
  const blocks = Object.entries(sockets).map(
    ([name, path]) => `socket {
      name        = ${JSON.stringify(name)}
      socket_path = ${JSON.stringify(`unix://${path}`)}
    }`,
  );
  return `${agentConfig(dataDir, CLIENT_HTTP_PORT, acl)}
plugin_dir = ${JSON.stringify(pluginDir)}

client {
  enabled           = true
  servers           = ["127.0.0.1:4647"]
  network_interface = "lo"
  cni_path          = "/usr/lib/cni"
  options = {
    "driver.allowlist"     = "podman,raw_exec"
    "fingerprint.denylist" = "${SLOW_FINGERPRINTERS}"
  }
}

plugin "raw_exec" {
  config {
    enabled = true
  }
}

plugin "nomad-driver-podman" {
  config {
    volumes {
      enabled = true
    }
    gc {
      container = true
    }
    ${blocks.join('\n    ')}
  }
}
`;
}

function agentConfig(dataDir: string, httpPort: number, acl: boolean): string {
  return `
data_dir             = ${JSON.stringify(dataDir)}
bind_addr            = "127.0.0.1"
disable_update_check = true

ports {
  http = ${httpPort}
}

advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}

acl {
  enabled = ${acl}
}
`;
}
