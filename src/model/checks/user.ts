import type { Refusal } from '../explanation.ts';
import type { IdRemedy } from '../subordinate-ids.ts';
import { type Answer, type CheckOf, type Finding, failed, ok, warning } from './check.ts';

/** What is known of the account of a user of the configuration. */
export interface AccountFacts {
  readonly name: string;
  readonly minUid: number;
  /** Undefined where the host does not know the user. */
  readonly account: Answer<{ readonly uid: number } | undefined>;
  readonly ids: IdFacts | undefined;
}

/** What is known of a user of the configuration on this host. */
export interface UserFacts extends AccountFacts {
  /** Undefined where there is no account, or systemd has not booted this host. */
  readonly systemd: UserSystemdFacts | undefined;
  /** The path of her Podman's socket; undefined where there is no account. */
  readonly socket: string | undefined;
  /** The uid of who listens there; undefined for nobody. */
  readonly listener: Answer<number | undefined> | undefined;
  /** Undefined where she does not listen. */
  readonly podman: Answer<PodmanReport> | undefined;
  readonly containersConf: Answer<{ readonly userns: string; readonly defaultSysctls: readonly string[] }> | undefined;
}

/** What is known of her subordinate ids. */
export interface IdFacts {
  readonly problem: Refusal | undefined;
  readonly remedy: IdRemedy | undefined;
  /** How many there are; undefined where their source does not say. */
  readonly counts: { readonly uid: number; readonly gid: number } | undefined;
}

/** What systemd says of her. */
export interface UserSystemdFacts {
  readonly lingers: boolean;
  /** ActiveState of her manager, user@UID.service. */
  readonly manager: string;
}

/** What her Podman says of itself: libpod/define/info.go. */
export interface PodmanReport {
  readonly version: string;
  readonly isRootless: boolean;
  /** `v1` or `v2`. */
  readonly cgroupVersion: string;
  /** Those that her manager was given. */
  readonly cgroupControllers: readonly string[];
  readonly storageDriver: string;
}

/** Of an image an id can be as high, login.defs(5): SUB_UID_COUNT. */
const IDS = 65_536;
/** The oldest that tests run with; docs/operations.md, Requirements. */
const PODMAN = [4, 3] as const;
/** What the limits of a task need. */
const CONTROLLERS = ['cpu', 'memory', 'pids'];
/** Values of userns that leave a container in the user namespace of the user's Podman. */
const IN_PODMANS = ['', 'host', 'default'];

/** The checks of a user that need nothing to run. */
export const ACCOUNT_CHECKS: readonly CheckOf<AccountFacts>[] = [
  {
    id: 'account',
    title: 'account',
    judge: ({ name, account, minUid }) => {
      if ('problem' in account) return failed(account.problem);
      const { value } = account;
      if (!value) return failed('there is none on this host', `useradd --create-home ${name}`);
      if (value.uid === 0) return failed('tasks never run as root; name another user');
      if (value.uid < minUid)
        return failed(`uid ${value.uid} is below min_uid, ${minUid}; name another user, or set min_uid`);
      return ok(`uid ${value.uid}`);
    },
  },
  {
    id: 'subordinate_ids',
    title: 'subordinate ids',
    judge: ({ ids, account, minUid }) => {
      const mayRun = 'value' in account && account.value !== undefined && account.value.uid >= Math.max(minUid, 1);
      if (!ids || !mayRun) return undefined;
      const { problem, remedy, counts } = ids;
      if (problem) return failed(problem.reason, remedy?.command);
      if (!counts) return warning('the source of subid in nsswitch.conf does not say');
      const least = Math.min(counts.uid, counts.gid);
      if (least >= IDS) return ok(`${least}, nobody else's`);
      return warning(`${least}, nobody else's: images with ids above that do not run; give ${IDS}`);
    },
  },
];

/** The checks of one user. */
export const USER_CHECKS: readonly CheckOf<UserFacts>[] = [
  ...ACCOUNT_CHECKS,
  {
    id: 'linger',
    title: 'linger',
    judge: ({ name, systemd }) => {
      if (!systemd) return undefined;
      return systemd.lingers
        ? ok('on: the user manager runs without a login')
        : failed(
            'off: without a login, for example after a reboot, there is no Podman',
            `loginctl enable-linger ${name}`,
          );
    },
  },
  {
    id: 'user_manager',
    title: 'user manager',
    judge: ({ account, systemd }) => {
      if (!systemd || !('value' in account) || !account.value) return undefined;
      const unit = `user@${account.value.uid}.service`;
      return systemd.manager === 'active'
        ? ok(`${unit} is active`)
        : failed(`${unit} is ${systemd.manager}`, `systemctl start ${unit}`);
    },
  },
  { id: 'podman_socket', title: "Podman's socket", judge: judgeSocket },
  {
    id: 'podman',
    title: 'Podman',
    judge: ({ name, podman }) => {
      if (!podman) return undefined;
      if ('problem' in podman) return failed(podman.problem, restart(name));
      const { version, isRootless } = podman.value;
      if (!isRootless) return failed(`${version} is not rootless: have the user's own Podman listen there`);
      return isOld(version)
        ? warning(`${version}: nomad-rootless is tested with ${PODMAN.join('.')} and later; install a later Podman`)
        : ok(`${version}, rootless`);
    },
  },
  {
    id: 'podman_cgroups',
    title: 'cgroups of Podman',
    judge: ({ podman, account }) => {
      if (!podman || !('value' in podman)) return undefined;
      const { cgroupVersion, cgroupControllers } = podman.value;
      if (cgroupVersion !== 'v2') return warning(`${cgroupVersion}: limits of memory and CPU do not hold`);
      const missing = CONTROLLERS.filter((one) => !cgroupControllers.includes(one));
      if (missing.length === 0) return ok(`v2, with ${cgroupControllers.join(', ')}`);
      const uid = 'value' in account ? account.value?.uid : undefined;
      return warning(
        `v2, without ${missing.join(', ')}: limits of them do not hold; delegate them to user@${uid ?? 'UID'}.service (Delegate=${CONTROLLERS.join(' ')} in a drop-in of user@.service)`,
      );
    },
  },
  {
    id: 'podman_storage',
    title: 'storage of Podman',
    judge: ({ podman }) => {
      if (!podman || !('value' in podman)) return undefined;
      const { storageDriver } = podman.value;
      if (storageDriver !== 'vfs') return ok(storageDriver);
      return warning(
        'vfs copies a whole image for each container; install fuse-overlayfs, or set driver = "overlay" in storage.conf',
      );
    },
  },
  {
    id: 'containers_conf',
    title: 'containers.conf',
    judge: ({ containersConf }) => {
      if (!containersConf) return undefined;
      if ('problem' in containersConf) return failed(containersConf.problem);
      const { userns, defaultSysctls } = containersConf.value;
      const shown = userns === '' ? 'userns as by default' : `userns = "${userns}"`;
      const sysctl = defaultSysctls.find((one) => one.trim().startsWith('net.'));
      if (sysctl === undefined || IN_PODMANS.includes(userns.split(':', 1)[0] ?? '')) return ok(shown);
      return warning(
        `${shown} beside ${sysctl} of default_sysctls: containers do not start in a group network; set default_sysctls = [] below [containers] of ~/.config/containers/containers.conf, and restart podman.service`,
      );
    },
  },
];

function judgeSocket({ name, socket, listener, account }: UserFacts): Finding | undefined {
  if (socket === undefined || !listener) return undefined;
  if ('problem' in listener) return failed(`${socket}: ${listener.problem}`, restart(name));
  const uid = 'value' in account ? account.value?.uid : undefined;
  if (listener.value === undefined) {
    return failed(`nothing listens on ${socket}`, `systemctl --user --machine=${name}@ enable --now podman.socket`);
  }
  if (listener.value !== uid) return failed(`uid ${listener.value} listens on ${socket}, not ${name}`, restart(name));
  return ok(socket);
}

function isOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return major < PODMAN[0] || (major === PODMAN[0] && minor < PODMAN[1]);
}

function restart(name: string): string {
  return `systemctl --user --machine=${name}@ restart podman.socket podman.service`;
}
