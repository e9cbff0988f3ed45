import { type CheckOf, type Finding, failed, ok, shellWord, warning } from './check.ts';

/** What a host's checks go by. */
export interface HostFacts {
  /** The version of Node.js, such as `24.1.0`. */
  readonly node: string;
  /** The kernel's release, such as `6.12.9-amd64`. */
  readonly kernel: string;
  /** Capabilities that the agent needs and this process lacks, by name. */
  readonly missingCapabilities: readonly string[];
  /** Programs that the agent runs and that are not there, by path. */
  readonly missingPrograms: readonly string[];
  /** user.max_user_namespaces, namespaces(7); undefined where the kernel has none. */
  readonly mostUserNamespaces: number | undefined;
  /** kernel.unprivileged_userns_clone of Debian's kernels; undefined elsewhere. */
  readonly mayMakeUserNamespaces: boolean | undefined;
  /** Whether cgroup v2 is mounted at /sys/fs/cgroup. */
  readonly hasCgroupV2: boolean;
  /** Whether mounts below / reach other mount namespaces: mount_namespaces(7), shared. */
  readonly isRootShared: boolean;
  readonly isSelinuxOn: boolean;
  /** Whether AppArmor is on; what Ubuntu calls apparmor_restrict_unprivileged_userns is passed by Podman's own profile. */
  readonly isApparmorOn: boolean;
  /** Whether the kernel has bridges: loaded, built in, or a module that it loads when it is asked for one. */
  readonly hasBridges: boolean;
  /** net.ipv4.ip_forward. */
  readonly forwards: boolean;
}

/** What is needed of Node.js and of the kernel; docs/operations.md, Requirements. */
const NODE = 24;
const KERNEL = [5, 14] as const;
/** From here on ids in secrets/, a tmpfs, can be mapped; mount_setattr(2). */
const KERNEL_MAPS_TMPFS = [6, 3] as const;
/** From here on a process's namespaces are had by its pidfd: include/uapi/linux/pidfd.h, PIDFD_GET_MNT_NAMESPACE. */
const KERNEL_PIDFD_NAMESPACES = [6, 11] as const;

/** The checks of the host itself. */
export const HOST_CHECKS: readonly CheckOf<HostFacts>[] = [
  {
    id: 'node',
    title: 'Node.js',
    judge: ({ node }) =>
      Number(node.split('.')[0]) >= NODE ? ok(node) : failed(`${node}; install Node.js ${NODE} or later`),
  },
  { id: 'kernel', title: 'Linux', judge: ({ kernel }) => judgeKernel(kernel) },
  {
    id: 'capabilities',
    title: 'capabilities',
    judge: ({ missingCapabilities: missing }) =>
      missing.length === 0
        ? ok('everything that the agent needs')
        : failed(
            `root lacks ${missing.join(', ')} here; run it outside of containers, with CapabilityBoundingSet= of deploy/systemd/nomad-rootless.service`,
          ),
  },
  {
    id: 'programs',
    title: 'programs',
    judge: ({ missingPrograms: missing }) =>
      missing.length === 0
        ? ok('all programs that the agent runs')
        : failed(`${missing.join(', ')} missing; install util-linux, coreutils, findutils and grep`),
  },
  {
    id: 'user_namespaces',
    title: 'user namespaces',
    judge: ({ mostUserNamespaces: most, mayMakeUserNamespaces }) => {
      if (most === undefined) return failed('the kernel has none (CONFIG_USER_NS)');
      if (most === 0) return failed('user.max_user_namespaces is 0', 'sysctl -w user.max_user_namespaces=15000');
      if (mayMakeUserNamespaces !== false) return ok(`users may make ${most}`);
      return failed('kernel.unprivileged_userns_clone is 0', 'sysctl -w kernel.unprivileged_userns_clone=1');
    },
  },
  {
    id: 'cgroup',
    title: 'cgroups',
    judge: ({ hasCgroupV2 }) =>
      hasCgroupV2
        ? ok('version 2')
        : warning(
            'version 1: rootless Podman cannot limit memory and CPU; boot with systemd.unified_cgroup_hierarchy=1',
          ),
  },
  {
    id: 'propagation',
    title: 'propagation of /',
    judge: ({ isRootShared }) =>
      isRootShared
        ? ok('shared')
        : failed(
            'private: what Nomad mounts, such as secrets/, does not reach the mount namespaces of users',
            'mount --make-rshared /',
          ),
  },
  {
    id: 'security_module',
    title: 'SELinux, AppArmor',
    judge: ({ isSelinuxOn, isApparmorOn }) => {
      if (isSelinuxOn) return ok('SELinux is on: what is shown to users is labelled container_file_t');
      return ok(isApparmorOn ? 'AppArmor is on' : 'neither is on');
    },
  },
  {
    id: 'bridge',
    title: 'bridges',
    judge: ({ hasBridges, kernel }) =>
      hasBridges
        ? ok('the kernel has them')
        : warning(
            `the kernel has no module bridge, loaded, built in or below /lib/modules/${kernel}: Nomad places no group with network mode bridge; install the kernel's modules`,
          ),
  },
  {
    id: 'ip_forward',
    title: 'IP forwarding',
    judge: ({ forwards }) =>
      forwards
        ? ok('on')
        : warning(
            'net.ipv4.ip_forward is 0: until a CNI plugin sets it no group with a network of its own reaches others',
            'sysctl -w net.ipv4.ip_forward=1',
          ),
  },
];

function judgeKernel(kernel: string): Finding {
  const is = ([major, minor]: readonly [number, number]) => {
    const [ofKernel = 0, minorOfKernel = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10));
    return ofKernel > major || (ofKernel === major && minorOfKernel >= minor);
  };
  if (!is(KERNEL)) return failed(`${kernel}; install Linux ${KERNEL.join('.')} or later`);
  if (!is(KERNEL_MAPS_TMPFS)) {
    return warning(
      `${kernel}: tasks see ids in secrets/ as they are on disk before Linux ${KERNEL_MAPS_TMPFS.join('.')}`,
    );
  }
  if (is(KERNEL_PIDFD_NAMESPACES)) return ok(kernel);
  return warning(
    `${kernel}: before Linux ${KERNEL_PIDFD_NAMESPACES.join('.')} a user can delay the agent when it looks at the user's processes`,
  );
}

/** What is known of the configuration. */
export interface ConfigFacts {
  /** The file; undefined where the defaults are in effect. */
  readonly file: string | undefined;
  /** Why it cannot be used. */
  readonly problem: string | undefined;
  /** Who but root could change it, and the command against that. */
  readonly unsafe: { readonly found: string; readonly remedy: string } | undefined;
  /** The file that holds Nomad's token, where others than root can read it. */
  readonly openTokenFile: string | undefined;
  readonly users: readonly string[];
  /** The one user that was asked for. */
  readonly asked: string | undefined;
}

/** The checks of the configuration. */
export const CONFIG_CHECKS: readonly CheckOf<ConfigFacts>[] = [
  {
    id: 'config',
    title: 'configuration',
    judge: ({ file, problem, unsafe, openTokenFile }) => {
      if (problem !== undefined) return failed(problem);
      if (unsafe) return failed(unsafe.found, unsafe.remedy);
      if (openTokenFile === undefined) return ok(file ?? 'no file: defaults');
      const remedy = `chmod go-rwx ${shellWord(openTokenFile)}`;
      return failed(`${openTokenFile} holds Nomad's token, and users other than root can read it`, remedy);
    },
  },
  {
    id: 'users',
    title: 'users',
    judge: ({ problem, users, file = '/etc/nomad-rootless/config.yaml', asked }) => {
      if (problem !== undefined) return undefined;
      if (users.length === 0) return failed(`none: no task can run. Name them in ${file}, as users: {alice: {}}`);
      if (asked === undefined || users.includes(asked)) return ok(users.join(', '));
      return failed(`${asked} is not one of users (${users.join(', ')}): add it in ${file}`);
    },
  },
];
