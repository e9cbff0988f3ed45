import * as z from 'zod';
import { RefusedError } from '../errors.ts';
import { isAllocationId } from '../model/allocation.ts';
import { parse } from '../parse.ts';
import { type DriverConfig, driverConfigIn } from './driver-config.ts';

/** Where Nomad's client keeps things on this machine: absolute paths, as Nomad spells them. */
export interface ClientPaths {
  readonly dataDir: string;
  /** Where the allocations' directories are. */
  readonly allocDir: string;
  /** What the client remembers, its node's id among it. */
  readonly stateDir: string;
  /** Where the plugins of dynamic host volumes make them, unless they choose another place. */
  readonly hostVolumesDir: string;
  /** Below it CSI volumes are mounted for allocations. */
  readonly csiDir: string;
  /** Where CNI plugins lie. */
  readonly cniPath: readonly string[];
}

/** What the Nomad agent of this machine says of itself. */
export interface AgentSelf extends ClientPaths, DriverConfig {
  /** A lower-case UUID. */
  readonly nodeId: string;
  /** Such as `2.0.5`. */
  readonly version: string;
  /** Where the operator's configuration says something else than Nomad, in words. */
  readonly disagreements: readonly string[];
}

/** What the operator's configuration says already, and Nomad need not. */
export type KnownOfSelf = { readonly [key in 'nodeId' | 'dataDir' | 'allocDir']?: string | undefined };

/** Where Nomad looks for CNI plugins unless it is told, defaultCNIPath in client/allocrunner/networking_cni.go. */
const DEFAULT_CNI_PATH = '/opt/cni/bin';
const agentSelf = z.object({
  config: z.object({
    DataDir: z.string(),
    Version: z.object({ Version: z.string(), VersionPrerelease: z.string().default('') }),
    Client: z
      .object({
        AllocDir: z.string(),
        StateDir: z.string().default(''),
        HostVolumesDir: z.string().default(''),
        CNIPath: z.string().default(''),
      })
      .nullish(),
    Plugins: z.array(z.object({ Name: z.string(), Config: z.unknown() })).nullish(),
  }),
  stats: z.object({ client: z.object({ node_id: z.string() }).optional() }),
});

/**
 * Reads the answer of /v1/agent/self.
 * @param known takes the place of what Nomad says
 * @throws RefusedError `nomad_not_a_client` for an agent that is only a server, `nomad_no_data_dir` for one that does not
 *   say where its allocations are; ParseError where the JSON is something else
 */
export function parseAgentSelf(json: unknown, known: KnownOfSelf = {}): AgentSelf {
  const { config, stats } = parse(agentSelf, json, 'agent/self');
  const said = {
    nodeId: stats.client?.node_id,
    dataDir: config.DataDir,
    allocDir: config.Client?.AllocDir || (config.DataDir && `${config.DataDir}/alloc`),
  };
  const nodeId = known.nodeId ?? said.nodeId;
  if (nodeId === undefined || !isAllocationId(nodeId)) {
    const message =
      'the Nomad agent that answers runs no client: set nomad.address to the agent on this machine, or nomad.node_id, nomad.data_dir and nomad.alloc_dir';
    throw new RefusedError('nomad_not_a_client', message);
  }
  const dataDir = known.dataDir ?? said.dataDir;
  const allocDir = known.allocDir || config.Client?.AllocDir || `${dataDir}/alloc`;
  if (!dataDir.startsWith('/') || !allocDir.startsWith('/')) {
    const message = `Nomad names no absolute data_dir (it says "${dataDir}", as with -dev): set nomad.data_dir and nomad.alloc_dir`;
    throw new RefusedError('nomad_no_data_dir', message);
  }
  const { Version: release, VersionPrerelease: prerelease } = config.Version;
  return {
    nodeId,
    ...clientPaths(dataDir, { ...config.Client, AllocDir: allocDir }),
    version: prerelease === '' ? release : `${release}-${prerelease}`,
    ...driverConfigIn(config.Plugins ?? []),
    disagreements: disagreements(known, said),
  };
}

/**
 * The paths of a client, with the defaults of Nomad: command/agent/agent.go (convertClientConfig),
 * client/allocrunner/taskrunner/plugin_supervisor_hook.go.
 * @param client what its configuration says, empty for the default
 */
export function clientPaths(
  dataDir: string,
  client: { readonly [key in 'AllocDir' | 'StateDir' | 'HostVolumesDir' | 'CNIPath']?: string | undefined } = {},
): ClientPaths {
  const stateDir = client.StateDir || `${dataDir}/client`;
  return {
    dataDir,
    allocDir: client.AllocDir || `${dataDir}/alloc`,
    stateDir,
    hostVolumesDir: client.HostVolumesDir || `${dataDir}/host_volumes`,
    csiDir: `${stateDir}/csi`,
    cniPath: (client.CNIPath || DEFAULT_CNI_PATH).split(':').filter((path) => path.startsWith('/')),
  };
}

/** What Nomad does not say at all disagrees with nothing. */
function disagreements(known: KnownOfSelf, said: KnownOfSelf): string[] {
  const keys = { nodeId: 'nomad.node_id', dataDir: 'nomad.data_dir', allocDir: 'nomad.alloc_dir' } as const;
  return (['nodeId', 'dataDir', 'allocDir'] as const).flatMap((key) => {
    if (!known[key] || !said[key] || known[key] === said[key]) return [];
    return [`${keys[key]} is ${known[key]} in the configuration, which takes precedence; Nomad says ${said[key]}`];
  });
}
