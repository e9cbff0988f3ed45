import type { UserFacts } from './checks/user.ts';

/** One thing that setup does for a user, with what is needed to take it back. */
export type Change =
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

/** What is to be done for a user, or why nothing can be. */
export type Plan = { readonly changes: readonly Change[] } | { readonly obstacle: string };

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
  const changes: Change[] = [];
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
