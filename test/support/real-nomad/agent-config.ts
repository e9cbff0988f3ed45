import { PLUGIN_DIR } from '../nomad/group-network.ts';

/** What a Nomad client is to be like. */
export interface ClientOptions {
  readonly dataDir: string;
  readonly pluginDir: string;
  /** Name of each socket block of the podman driver to the path of its socket. */
  readonly sockets: Readonly<Record<string, string>>;
  readonly acl: boolean;
  readonly network: ClientNetwork;
  /** Name to path of each `host_volume` block. */
  readonly hostVolumes: Readonly<Record<string, string>>;
  /** Whether the driver starts containers again that have ended while it was away; false unless told. */
  readonly recoverStopped?: boolean;
}

/** How it makes the networks of groups. */
export interface ClientNetwork {
  /** Directory of the CNI plugins; that of CNI_PATH, or else Debian's, unless told. */
  readonly pluginDir?: string | undefined;
  /** Subnets of mode `bridge`: Nomad's default, and no IPv6, unless told. */
  readonly subnet?: string | undefined;
  readonly subnetIpv6?: string | undefined;
  /** Directory with a `.conflist` file for each mode `cni/<name>`. */
  readonly configDir: string;
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
export function clientConfig(options: ClientOptions): string {
  const { dataDir, pluginDir, sockets, acl, network, hostVolumes, recoverStopped = false } = options;
  const blocks = Object.entries(sockets).map(
    ([name, path]) => `socket {
      name        = ${JSON.stringify(name)}
      socket_path = ${JSON.stringify(`unix://${path}`)}
    }`,
  );
  const volumes = Object.entries(hostVolumes).map(
    ([name, path]) => `host_volume ${JSON.stringify(name)} {
    path = ${JSON.stringify(path)}
  }`,
  );
  return `${agentConfig(dataDir, CLIENT_HTTP_PORT, acl)}
plugin_dir = ${JSON.stringify(pluginDir)}

client {
  enabled           = true
  servers           = ["127.0.0.1:4647"]
  network_interface = "lo"
  ${[...networkConfig(network), ...volumes].join('\n  ')}
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
    recover_stopped = ${recoverStopped}
    ${blocks.join('\n    ')}
  }
}
`;
}

function networkConfig({ pluginDir = PLUGIN_DIR, subnet, subnetIpv6, configDir }: ClientNetwork): string[] {
  const settings = {
    cni_path: pluginDir,
    cni_config_dir: configDir,
    bridge_network_subnet: subnet,
    bridge_network_subnet_ipv6: subnetIpv6,
  };
  return Object.entries(settings).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key} = ${JSON.stringify(value)}`],
  );
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
