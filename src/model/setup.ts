import { type AgentFacts, KEEPS_OVER_STOP, type ServiceFacts, UNIT } from './checks/service.ts';
import type { UserFacts } from './checks/user.ts';

/** One thing that setup does, with what is needed to take it back. */
export type Change = UserChange | UnitChange;

/** One thing that setup does for a user. */
type UserChange =
  | {
      readonly kind: 'subordinate_ids';
      readonly user: string;
      readonly uid: number;
      readonly of: readonly ('uid' | 'gid')[];
      readonly first: number;
      readonly last: number;
    }
  | { readonly kind: 'linger'; readonly user: string; readonly uid: number }
  | { readonly kind: 'podman_socket'; readonly user: string }
  | { readonly kind: 'config'; readonly user: string };

/** That setup enables and starts the agent's unit, for all users of the host. */
interface UnitChange {
  readonly kind: 'unit';
  /** Whether systemd keeps the gates' sockets when the unit is stopped. */
  readonly keepsGates: boolean;
}

/** What is to be done for a user, or why nothing can be. */
type Plan = { readonly changes: readonly UserChange[] } | { readonly obstacle: string };

/** What a user lacks of what tasks need. Empty for one who has all. @param isConfigured whether users of the configuration has her */
export function planSetup(
  { name, minUid, account, ids, systemd, socket, listener }: UserFacts,
  isConfigured: boolean,
): Plan {
  const stop = (why: string): Plan => ({ obstacle: `user ${name}: ${why}` });
  if ('problem' in account) return stop(account.problem);
  if (!account.value) return stop(`there is none on this host; make the account first: useradd --create-home ${name}`);
  const { uid } = account.value;
  if (uid < Math.max(minUid, 1)) return stop(`uid ${uid} is below min_uid, ${minUid}`);
  if (!systemd) return stop('systemd has not booted this host: nothing would start the Podman socket');
  if (ids?.problem && !ids.remedy?.adds) return { obstacle: ids.problem.reason };
  if (listener && 'problem' in listener) return stop(listener.problem);
  if (listener?.value !== undefined && listener.value !== uid) {
    return stop(`uid ${listener.value} listens on ${socket}`);
  }
  const changes: UserChange[] = [];
  if (ids?.problem && ids.remedy?.adds) {
    const { adds, range } = ids.remedy;
    const last = range.start + range.count - 1;
    changes.push({ kind: 'subordinate_ids', user: name, uid, of: adds, first: range.start, last });
  }
  if (!systemd.lingers) changes.push({ kind: 'linger', user: name, uid });
  if (listener?.value === undefined) changes.push({ kind: 'podman_socket', user: name });
  if (!isConfigured) changes.push({ kind: 'config', user: name });
  return { changes };
}

/**
 * Enabling the unit, where it is there and is not enabled, and no agent answers: where one does, it is run in another way, as a
 * Nomad job, and has to stay the only one.
 */
export function planUnit(systemd: ServiceFacts['systemd'], agent: Pick<AgentFacts, 'kind'>): UnitChange[] {
  const { loadState, unitFileState } = systemd?.unit ?? {};
  if (!systemd || loadState !== 'loaded' || unitFileState !== 'disabled' || agent.kind !== 'stopped') return [];
  return [{ kind: 'unit', keepsGates: systemd.version >= KEEPS_OVER_STOP }];
}

/**
 * What to take back for users, the last thing first. The unit is taken back with the last of the users whom it serves.
 * @param record what setup has done, in the order in which it did
 * @param configured the users of the configuration
 * @returns also whom the unit goes on serving, where setup has enabled it and it stays
 */
export function planUndo(
  record: readonly Change[],
  users: readonly string[],
  configured: Iterable<string>,
): { readonly changes: readonly Change[]; readonly served: readonly string[] } {
  const recorded = record.flatMap((change) => (change.kind === 'unit' ? [] : [change.user]));
  const others = [...new Set([...configured, ...recorded])].filter((user) => !users.includes(user));
  const isTakenBack = (change: Change) => (change.kind === 'unit' ? others.length === 0 : users.includes(change.user));
  const served = record.some(({ kind }) => kind === 'unit') ? others : [];
  return { changes: record.filter(isTakenBack).reverse(), served };
}

/** The commands that make a change, each with its arguments; none for what is not done by a command. */
export function commandsFor(change: Change): string[][] {
  switch (change.kind) {
    case 'subordinate_ids':
      return [['usermod', ...change.of.flatMap((kind) => [`--add-sub${kind}s`, rangeOf(change)]), change.user]];
    case 'linger':
      // Waits until the user manager is there, which loginctl does not.
      return [
        ['loginctl', 'enable-linger', change.user],
        ['systemctl', 'start', `user@${change.uid}.service`],
      ];
    case 'podman_socket':
      return [['systemctl', '--user', `--machine=${change.user}@`, 'enable', '--now', 'podman.socket']];
    case 'config':
      return [];
    case 'unit':
      return [['systemctl', 'enable', '--now', UNIT]];
  }
}

/** The commands that take a change back. */
export function commandsAgainst(change: Change): string[][] {
  switch (change.kind) {
    case 'subordinate_ids':
      // usermod(8) takes no ids from a user who has processes.
      return [
        ['systemctl', 'stop', `user-${change.uid}.slice`],
        ['usermod', ...change.of.flatMap((kind) => [`--del-sub${kind}s`, rangeOf(change)]), change.user],
      ];
    case 'linger':
      return [['loginctl', 'disable-linger', change.user]];
    case 'podman_socket':
      return [
        ['systemctl', '--user', `--machine=${change.user}@`, 'disable', '--now', 'podman.socket', 'podman.service'],
      ];
    case 'config':
      return [];
    case 'unit': {
      const stop = ['systemctl', 'disable', '--now', UNIT];
      // Who asks a gate that is kept would wait for an agent that never comes.
      return change.keepsGates ? [stop, ['systemctl', 'clean', '--what=fdstore', UNIT]] : [stop];
    }
  }
}

/** The blocks of the podman driver that lead to the users' gates, for Nomad's configuration. */
export function socketBlocks(users: readonly string[], gateDir: string): string {
  const blocks = users.map(
    (user) => `    socket {
      name        = ${JSON.stringify(user)}
      socket_path = ${JSON.stringify(`unix://${gateDir}/${user}.sock`)}
    }
`,
  );
  return `plugin "nomad-driver-podman" {
  config {
${blocks.join('')}  }
}
`;
}

function rangeOf({ first, last }: { readonly first: number; readonly last: number }): string {
  return `${first}-${last}`;
}
