import { type Allocation, isFinished, type Task } from './allocation.ts';
import { PODMAN_DRIVER, podmanTasks, podmanUserOf } from './podman-user.ts';

/** What is known of a user when the desired state is worked out. */
export interface KnownUser {
  readonly name: string;
  readonly uid: number;
  readonly hasSubordinateIds: boolean;
}

/** What decides, beside the allocation itself. */
export interface Rules {
  readonly nodeId: string;
  readonly metaKey: string;
  /** Users below this uid are refused. */
  readonly minUid: number;
  /** Names of the users that have a gate, from the configuration. */
  readonly configured: ReadonlySet<string>;
  /** Whether a container that joins the allocation's netns is held at the gate. */
  readonly isNetnsAwaited: boolean;
  /** What NSS says of each name or uid that the allocation names; undefined: no such user. */
  readonly accounts: ReadonlyMap<string | number, KnownUser | undefined>;
}

/** A user of the allocation, with the names of the tasks that run as that user. */
export interface Access {
  readonly name: string;
  readonly uid: number;
  readonly tasks: readonly string[];
}

/**
 * What an allocation should have on this host:
 * - `nothing`: it is gone, finished, or names no podman user. Whatever is there of ours goes.
 * - `refused`: it may not have what it asks for. Nothing is granted, and nothing taken from what already runs.
 * - `access`: `podman` users get a view, an ACL entry and their log FIFOs; `others` (tasks of other drivers with a
 *   `user`) get an ACL entry so that the lock on the allocation's directory does not shut them out.
 */
export type Desired =
  | { readonly kind: 'nothing'; readonly id: string; readonly why: 'gone' | 'finished' | 'unmanaged' }
  | { readonly kind: 'refused'; readonly id: string; readonly code: string; readonly reason: string }
  | {
      readonly kind: 'access';
      readonly id: string;
      readonly podman: readonly Access[];
      readonly others: readonly Access[];
      /** The names of all tasks of the group, whoever runs them. */
      readonly tasks: readonly string[];
      /** Where the group has a netns of its own. */
      readonly netns: DesiredNetns | undefined;
    };

/** The netns of a group, which is to belong to its user. */
export interface DesiredNetns {
  /** bridge, none or cni/<name>. */
  readonly mode: string;
  /** Whether a container is held at the gate that joins it: the driver creates it only when the network is finished. */
  readonly isAwaited: boolean;
}

/** The desired state of an allocation; `allocation` is undefined when Nomad says that there is none of this id. */
export function desire(id: string, allocation: Allocation | undefined, rules: Rules): Desired {
  if (!allocation) return { kind: 'nothing', id, why: 'gone' };
  if (allocation.nodeId !== rules.nodeId) return { kind: 'nothing', id, why: 'gone' };
  if (isFinished(allocation)) return { kind: 'nothing', id, why: 'finished' };

  const podman = new Map<number, Access>();
  for (const task of podmanTasks(allocation)) {
    const wanted = podmanUserOf(task, rules.metaKey);
    if (wanted === undefined) continue;
    const verdict = judge(task, wanted, rules);
    if ('reason' in verdict) return { kind: 'refused', id, ...verdict };
    const known = podman.get(verdict.uid);
    podman.set(verdict.uid, { ...verdict, tasks: [...(known?.tasks ?? []), task.name] });
  }
  if (podman.size === 0) return { kind: 'nothing', id, why: 'unmanaged' };

  const mode = netnsMode(allocation.networkMode);
  if (mode && podman.size > 1) {
    const names = [...podman.values()].map((user) => user.name).join(', ');
    const reason = `tasks of the group run as several users (${names}), but its ${mode} network has one owner; use one podman_user for the group or network mode "host"`;
    return { kind: 'refused', id, code: 'several_users_one_netns', reason };
  }
  const tasks = allocation.tasks.map((task) => task.name);
  const netns = mode === undefined ? undefined : { mode, isAwaited: rules.isNetnsAwaited };
  return { kind: 'access', id, podman: [...podman.values()], others: othersOf(allocation, rules), tasks, netns };
}

function judge(
  task: Task,
  wanted: { user: string | number } | { problem: string },
  rules: Rules,
): { name: string; uid: number } | { code: string; reason: string } {
  const { configured, metaKey, minUid } = rules;
  if ('problem' in wanted) return { code: 'bad_podman_user', reason: `task ${task.name}: ${wanted.problem}` };
  const asked = `task ${task.name}: ${metaKey} = "${wanted.user}"`;
  const account = rules.accounts.get(wanted.user);
  if (!account) return { code: 'unknown_user', reason: `${asked}: there is no such user on this node` };
  const { name, uid } = account;
  if (uid === 0) return { code: 'root_user', reason: `${asked} is root; rootless Podman needs an ordinary user` };
  if (uid < minUid) return { code: 'uid_below_min', reason: `${asked} has uid ${uid}, below min_uid ${minUid}` };
  if (!configured.has(name)) {
    const have = [...configured].join(', ') || 'nobody';
    const reason = `${asked}: user ${name} has no gate on this node (configured: ${have}); ask the operator to add it to users in nomad-rootless's config`;
    return { code: 'user_not_configured', reason };
  }
  if (!account.hasSubordinateIds) {
    const reason = `${asked}: user ${name} has no range in /etc/subuid and /etc/subgid; ask the operator to run: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${name}`;
    return { code: 'no_subordinate_ids', reason };
  }
  return { name, uid };
}

function othersOf(allocation: Allocation, { accounts }: Rules): Access[] {
  const others = new Map<number, Access>();
  for (const task of allocation.tasks) {
    if (task.driver === PODMAN_DRIVER || task.user === '') continue;
    const account = accounts.get(/^\d+$/.test(task.user) ? Number(task.user) : task.user);
    if (!account || account.uid === 0) continue;
    const known = others.get(account.uid);
    others.set(account.uid, { name: account.name, uid: account.uid, tasks: [...(known?.tasks ?? []), task.name] });
  }
  return [...others.values()];
}

/** The modes for which Nomad makes a netns, netModeToIsolationMode in its client/allocrunner; in any case of letters. */
function netnsMode(mode: string | undefined): string | undefined {
  const known = mode?.toLowerCase() ?? '';
  return known === 'bridge' || known === 'none' || known.startsWith('cni/') ? known : undefined;
}
