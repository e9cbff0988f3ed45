import { type DriverSocket, driverSocketWarnings, type ServedUsers } from '../driver-sockets.ts';
import { type Answer, type CheckOf, failed, ok, shellWord, warning } from './check.ts';

/** What is known of Nomad's client on this machine, and of its podman driver. */
export interface NomadFacts {
  readonly address: string;
  readonly self: Answer<NomadSelf>;
  /** Undefined where Nomad has not said which node this is. */
  readonly driver: Answer<DriverFacts> | undefined;
  /** Whether the events of allocations can be had; undefined as `driver`. */
  readonly events: Answer<true> | undefined;
  /** Why the node that answers is not this machine's. */
  readonly nodeProblem: string | undefined;
  readonly dataDir: Answer<DataDirFacts> | undefined;
  readonly served: ServedUsers;
  /** How long a gate holds a create, in milliseconds. */
  readonly gateTimeoutMs: number;
  /** CNI plugins that lie in Nomad's cni_path, by name; undefined where nobody has looked. */
  readonly cniPlugins: ReadonlySet<string> | undefined;
}

/** What the agent says of itself. */
export interface NomadSelf {
  readonly nodeId: string;
  readonly version: string;
  readonly podmanSockets: readonly DriverSocket[];
  readonly cniPath: readonly string[];
  /** `client_http_timeout`, in milliseconds. */
  readonly httpTimeoutMs: number;
  /** `volumes { enabled }`. */
  readonly takesVolumes: boolean;
  readonly disagreements: readonly string[];
}

/** What Nomad says of the podman driver on a node. */
export interface DriverFacts {
  readonly isDetected: boolean;
  readonly isHealthy: boolean;
  readonly healthDescription: string;
}

/** Where the allocations are. */
export interface DataDirFacts {
  readonly path: string;
  readonly allocDir: string;
  /** Such as `ext4`; undefined where the mount is none of the host's. */
  readonly filesystem: string | undefined;
  /** Whether the filesystem of the allocations takes POSIX ACLs. */
  readonly takesAcls: boolean;
  /** Whether nobody but root comes to the allocations. */
  readonly isRootOnly: boolean;
}

/** What Nomad's conflist for network mode bridge names: client/allocrunner/networking_bridge_linux.go. */
const BRIDGE_PLUGINS = ['loopback', 'bridge', 'firewall', 'portmap'];
const DRIVER = 'plugin "nomad-driver-podman"';

/** deploy/nomad/nomad-rootless.policy.hcl, from standard input. */
const RIGHTS = [
  'namespace "*" { capabilities = ["read-job"] }',
  'node { policy = "read" }',
  'agent { policy = "read" }',
];
const GIVE_RIGHTS = `printf '%s\\n' ${RIGHTS.map(shellWord).join(' ')} | nomad acl policy apply nomad-rootless -`;

/** The checks of Nomad's client and its driver. */
export const NOMAD_CHECKS: readonly CheckOf<NomadFacts>[] = [
  {
    id: 'nomad',
    title: 'Nomad',
    judge: ({ address, self }) => {
      if ('value' in self) return ok(`${self.value.version} at ${address}`);
      return failed(`${address}: ${self.problem}`, remedyFor(self.code));
    },
  },
  {
    id: 'node',
    title: 'node',
    judge: ({ self, nodeProblem }) => {
      if (!('value' in self)) return undefined;
      if (nodeProblem !== undefined) return failed(nodeProblem);
      const { disagreements, nodeId } = self.value;
      return disagreements.length > 0 ? warning(disagreements.join('; ')) : ok(nodeId);
    },
  },
  {
    id: 'rights',
    title: 'rights in Nomad',
    judge: ({ driver, events }) => {
      if (!driver) return undefined;
      const lacking = [driver, events].find((answer) => answer && 'problem' in answer);
      if (!lacking || !('problem' in lacking))
        return ok('agent, node, and the allocations of all namespaces can be read');
      return failed(lacking.problem, remedyFor(lacking.code));
    },
  },
  {
    id: 'data_dir',
    title: 'data dir',
    judge: ({ dataDir }) => {
      if (!dataDir) return undefined;
      if ('problem' in dataDir) {
        return failed(`${dataDir.problem}; where it was removed restart Nomad, whose client makes it`);
      }
      const { path, allocDir, filesystem, takesAcls, isRootOnly } = dataDir.value;
      if (!takesAcls) {
        return failed(
          `${allocDir} (${filesystem}) does not support POSIX ACLs, which protect allocations; put Nomad's alloc_dir on ext4, XFS, btrfs or tmpfs, mounted without noacl`,
        );
      }
      if (isRootOnly) return ok(`${path} (${filesystem ?? 'unknown'}), closed to all but root`);
      return warning(
        `${path} (${filesystem}) can be entered by users other than root: tasks see ids as they are on disk, and allocations that have ended are open`,
        `chmod 0700 ${shellWord(path)}`,
      );
    },
  },
  {
    id: 'driver',
    title: 'podman driver',
    judge: ({ driver }) => {
      if (!driver || 'problem' in driver) return undefined;
      const { isDetected, isHealthy, healthDescription } = driver.value;
      if (!isDetected)
        return failed(
          `Nomad has not detected it: put nomad-driver-podman into plugin_dir, ${DRIVER} into Nomad's configuration, and restart Nomad`,
        );
      return isHealthy ? ok('healthy') : failed(`unhealthy, so that it gets no task: ${healthDescription}`);
    },
  },
  {
    id: 'driver_sockets',
    title: "the driver's sockets",
    judge: ({ self, served }) => {
      if (!('value' in self)) return undefined;
      if (served.podmanSockets.size === 0) return undefined;
      const problems = driverSocketWarnings(self.value.podmanSockets, served);
      return problems.length > 0 ? failed(problems.join('; ')) : ok('lead to the gate of each user');
    },
  },
  {
    id: 'driver_timeout',
    title: "the driver's time limit",
    judge: ({ self, gateTimeoutMs, served }) => {
      if (!('value' in self)) return undefined;
      const { httpTimeoutMs } = self.value;
      const shown = `client_http_timeout is ${httpTimeoutMs / 1000} s, gate.timeout ${gateTimeoutMs / 1000} s`;
      if (served.gateDir === undefined || httpTimeoutMs > gateTimeoutMs) return ok(shown);
      return failed(
        `${shown}: the driver gives up before the gate has answered, and its reason is lost; set gate.timeout below client_http_timeout of ${DRIVER}`,
      );
    },
  },
  {
    id: 'driver_volumes',
    title: "the driver's volumes",
    judge: ({ self }) => {
      if (!('value' in self)) return undefined;
      return self.value.takesVolumes
        ? ok('enabled')
        : warning(
            `volumes { enabled = false } in ${DRIVER}: tasks cannot name paths of the host in config.volumes; what Nomad mounts is not affected`,
          );
    },
  },
  {
    id: 'cni_plugins',
    title: 'CNI plugins',
    judge: ({ self, cniPlugins }) => {
      if (!('value' in self) || !cniPlugins) return undefined;
      const where = self.value.cniPath.join(', ');
      const missing = BRIDGE_PLUGINS.filter((plugin) => !cniPlugins.has(plugin));
      if (missing.length === 0) return ok(where);
      return warning(
        `${missing.join(', ')} not in ${where}: no group can have network mode bridge; install the CNI plugins there, or set cni_path of Nomad's client`,
      );
    },
  },
];

function remedyFor(code: string): string | undefined {
  if (code === 'nomad_unreachable') return 'systemctl start nomad';
  return code === 'nomad_denied' ? GIVE_RIGHTS : undefined;
}
