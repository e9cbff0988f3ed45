import { type Allocation, isFinished, type Task } from './allocation.ts';
import { PODMAN_DRIVER, podmanTasks } from './podman-user.ts';
import { rootPathRefusal } from './root-paths.ts';
import { type KnownUser, refusalFor, type UserRules, type Verdict, verdictOn } from './verdict.ts';
import { type DesiredVolume, desiredVolumes } from './volume.ts';

/** What decides, beside the allocation itself. */
export interface Rules extends UserRules {
  readonly nodeId: string;
  /** Whether a container that joins the allocation's netns is held at the gate. */
  readonly isNetnsAwaited: boolean;
  /** Whether the driver has begun to start a task of it: Nomad has finished the network, and the create is to come. */
  readonly isStarting: boolean;
  /** What creates of the allocation's containers have named as sources of mounts: paths from its directory on. */
  readonly named: readonly string[];
  /** The tasks of which a container was to be created within the last minute: it may not have been started yet. */
  readonly creating: ReadonlySet<string>;
  /** The host volumes of this node: name to path. */
  readonly hostVolumes: ReadonlyMap<string, string>;
  /** The uids that tasks have been prepared for on this host, by task. */
  readonly granted: ReadonlyMap<string, number>;
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
 * - `access`: `podman` users are shown their leaves and get their log FIFOs; `others` (tasks of other drivers with a
 *   `user`) get an ACL entry so that the restrictive ACL on the allocation's directory does not keep them out.
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
      /** What creates of containers have named as sources of mounts: paths from the allocation's directory on. */
      readonly named: readonly string[];
      /** The podman tasks whose containers have been started: they have mounts of their own of what they were shown. */
      readonly started: readonly string[];
      /** Whether Nomad makes sockets in alloc/tmp, and changes their modes by name, while containers run. */
      readonly usesConnect: boolean;
      /** Where the group has a netns of its own. */
      readonly netns: DesiredNetns | undefined;
      /** What its podman tasks mount of the volumes that the group claims. */
      readonly volumes: readonly DesiredVolume[];
      /** Changes of users that come too late for what runs, in words. */
      readonly notApplied: readonly string[];
    };

/** The netns of a group, which is to belong to its user. */
export interface DesiredNetns {
  /** bridge, none or cni/<name>. */
  readonly mode: string;
  /** Whether a container is held at the gate that joins it, or is sure to come: then Nomad has finished the network. */
  readonly isAwaited: boolean;
  /** Whether the containers of all its podman tasks join it: none asks for a network of its own. */
  readonly isJoined: boolean;
}

/** The desired state of an allocation that is over on this node; undefined for one that may have something. Nothing need be known of its users. */
export function desireIfEnded(allocation: Allocation, nodeId: string): Desired | undefined {
  const { id } = allocation;
  if (allocation.nodeId !== nodeId) return { kind: 'nothing', id, why: 'gone' };
  return isFinished(allocation) ? { kind: 'nothing', id, why: 'finished' } : undefined;
}

/** The desired state of an allocation that Nomad knows. */
export function desire(allocation: Allocation, rules: Rules): Desired {
  const { id } = allocation;
  const ended = desireIfEnded(allocation, rules.nodeId);
  if (ended) return ended;

  const podman = new Map<number, Access>();
  const notApplied: string[] = [];
  for (const task of podmanTasks(allocation)) {
    const verdict = verdictOn(task, allocation, rules);
    const former = formerUser(verdict, allocation, rules);
    if (former) notApplied.push(tooLate(verdict, former, id, rules));
    else if (verdict.refusal) return { kind: 'refused', id, ...verdict.refusal };
    const user = former ?? verdict.user;
    if (!user) continue;
    const { name, uid } = user;
    podman.set(uid, { name, uid, tasks: [...(podman.get(uid)?.tasks ?? []), task.name] });
  }
  if (podman.size === 0) return { kind: 'nothing', id, why: 'unmanaged' };

  const mode = netnsMode(allocation.networkMode);
  if (mode && podman.size > 1) {
    const names = [...podman.values()].map((user) => user.name).join(', ');
    const reason = `tasks of the group run as several users (${names}), but its ${mode} network has one owner; use one podman_user for the group or network mode "host"`;
    return { kind: 'refused', id, code: 'several_users_one_netns', reason };
  }
  const users = [...podman.values()];
  const tasks = allocation.tasks.filter(({ name }) => users.some((user) => user.tasks.includes(name)));
  const refusal = rootPathRefusal(allocation, tasks, users.length);
  if (refusal) return { kind: 'refused', id, ...refusal };
  return {
    kind: 'access',
    id,
    podman: users,
    others: othersOf(allocation, rules),
    tasks: allocation.tasks.map((task) => task.name),
    named: rules.named,
    started: tasks.filter(({ name, state }) => isStarted(state) && !rules.creating.has(name)).map(({ name }) => name),
    usesConnect: allocation.usesConnect,
    netns: mode === undefined ? undefined : netnsOf(mode, tasks, rules),
    volumes: desiredVolumes(allocation, users, rules.hostVolumes),
    notApplied,
  };
}

/**
 * The user whom a task has been prepared for, where the job now says another one: its containers and files are the former
 * one's, in Podmans that do not know each other. Nomad replaces an allocation when its meta changes; this is for what it
 * does not see, such as an account that got another uid. Whoever may no longer run it is not kept.
 */
function formerUser({ task, user }: Verdict, allocation: Allocation, rules: Rules): KnownUser | undefined {
  const uid = rules.granted.get(task);
  const former = uid === undefined || uid === user?.uid ? undefined : rules.accounts.get(uid);
  return former && !refusalFor(former, `task ${task}`, allocation, rules) ? former : undefined;
}

function tooLate({ task, meta }: Verdict, former: KnownUser, id: string, { metaKey }: Rules): string {
  const now = meta ? `${metaKey} = ${JSON.stringify(meta.value)}` : `no ${metaKey}`;
  return `task ${task}: the job now has ${now}, but the task was prepared for ${former.name} and keeps running as that user; run: nomad alloc stop ${id}`;
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

/** A task with a network of its own joins the group's only if its create says so: until then other drivers' tasks may need it as it is. */
function netnsOf(mode: string, tasks: readonly Task[], rules: Rules): DesiredNetns {
  const isJoined = !tasks.some(({ hasOwnNetwork }) => hasOwnNetwork);
  return { mode, isAwaited: rules.isNetnsAwaited || (rules.isStarting && isJoined), isJoined };
}

function isStarted(state: Task['state']): boolean {
  return state === 'running' || state === 'dead';
}

/** The uids that the podman tasks of an allocation are prepared for, by task; undefined where none are. */
export function grantedBy(desired: Desired): ReadonlyMap<string, number> | undefined {
  if (desired.kind !== 'access') return undefined;
  return new Map(desired.podman.flatMap(({ uid, tasks }) => tasks.map((task): [string, number] => [task, uid])));
}

/** The modes for which Nomad makes a netns, netModeToIsolationMode in its client/allocrunner; in any case of letters. */
function netnsMode(mode: string | undefined): string | undefined {
  const known = mode?.toLowerCase() ?? '';
  return known === 'bridge' || known === 'none' || known.startsWith('cni/') ? known : undefined;
}
