import { NotYetError } from '../errors.ts';
import { type Handle, openAbsoluteIfThere, openBeneathIfThere } from '../linux/handle.ts';
import { O, SyscallError } from '../linux/libc.ts';
import {
  hasOurRoot,
  listenersOf,
  namespaceName,
  openNamespace,
  ownerUid,
  owningUserNamespace,
  ProcessHandle,
  parentUserNamespace,
  pidsOf,
  uidsOf,
} from '../linux/process.ts';
import { readSmallFile } from '../linux/read-small-file.ts';
import { isRegularFile, isSameFile, type Stat, stat } from '../linux/stat.ts';
import { listenerOf } from '../linux/unix-peer.ts';

/** A user whose Podman we look for; `socket` is the path of the API socket. */
export interface PodmanOwner {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly socket: string;
}

/** A mount namespace in which a user's Podman works, and the user namespace that it belongs to, held open. */
export interface PodmanNamespace {
  readonly pid: number;
  readonly mount: Handle;
  readonly user: Handle;
}

interface Known extends PodmanNamespace {
  readonly process: ProcessHandle;
  /** Of the mount namespace. */
  readonly status: Stat;
}

/**
 * Finds the mount namespaces of a user's Podman: that of the process that serves the API socket, which is the one
 * that counts, and that of the pause process, which the next service will join. There can be two: an old service
 * outlives its pause process.
 *
 * Everything read from the user's side (pause.pid, who listens) is a hint only. A process is taken if, while its pidfd
 * says that it lives, all its uids are the user's, its user namespace was made by the user straight below ours, its
 * mount namespace belongs to that user namespace, and its root directory is ours. That keeps out other users'
 * processes and the user's own containers, which must not be given anything here. It does not keep out a process that
 * the user dressed up as her Podman: she only gives herself what is hers.
 */
export class PodmanNamespaces {
  readonly #known = new Map<number, Known[]>();
  readonly #looking = new Map<number, Promise<void>>();

  /**
   * At least one; the first is that of the process that serves the API socket, where one runs.
   * @throws NotYetError `podman_not_running`, or where it cannot be said now; SyscallError
   */
  async of(owner: PodmanOwner): Promise<readonly [PodmanNamespace, ...PodmanNamespace[]]> {
    const [first, ...others] = await this.#inTurn(owner);
    if (first) return [first, ...others];
    const remedy = `as root run: loginctl enable-linger ${owner.name}; as ${owner.name}: systemctl --user enable --now podman.socket`;
    throw new NotYetError('podman_not_running', `${owner.name}'s Podman does not run (${owner.socket}); ${remedy}`);
  }

  #inTurn(owner: PodmanOwner): Promise<readonly PodmanNamespace[]> {
    const next = (this.#looking.get(owner.uid) ?? Promise.resolve()).then(() => this.#find(owner));
    // One look at a time for a user: two would close each other's handles. The next one does not care how this one ends.
    this.#looking.set(
      owner.uid,
      next.then(
        () => undefined,
        () => undefined,
      ),
    );
    return next;
  }

  async #find(owner: PodmanOwner): Promise<readonly PodmanNamespace[]> {
    const pids = new Set([...(await this.#servicePids(owner)), ...pausePid(owner.uid)]);
    const before = this.#known.get(owner.uid) ?? [];
    const found = [...pids].flatMap(
      (pid) => before.find((one) => one.pid === pid && one.process.isAlive()) ?? identify(pid, owner.uid) ?? [],
    );
    for (const one of before) if (!found.includes(one)) close(one);
    this.#known.set(owner.uid, found);
    // Service and pause process mostly share one: each is remembered, the namespace is given once.
    return found.filter((one, at) => found.findIndex((other) => isSameFile(other.status, one.status)) === at);
  }

  /**
   * Visits every mount namespace in which any process of the user lives, as far as it could be a Podman of hers: also
   * those that her Podman has left, and in which only the monitor of a container is still there. To take something
   * away; what is to be granted goes to `of` alone.
   * @param uid the user; need not have a gate any more
   */
  visitAll(uid: number, visit: (namespace: PodmanNamespace) => void): void {
    const visited = new Set<string>();
    for (const pid of pidsOf(uid)) {
      const name = namespaceName(pid, 'mnt');
      if (name === undefined || visited.has(name)) continue;
      const found = identify(pid, uid);
      if (!found) continue;
      visited.add(name);
      try {
        visit(found);
      } finally {
        close(found);
      }
    }
  }

  close(): void {
    for (const known of this.#known.values()) known.forEach(close);
    this.#known.clear();
  }

  async #servicePids(owner: PodmanOwner): Promise<number[]> {
    const listener = await listenerOf(owner.socket);
    if (listener?.uid !== owner.uid) return [];
    const cached = (this.#known.get(owner.uid) ?? []).map((one) => one.pid);
    if (cached.includes(listener.pid)) return [listener.pid];
    // Where systemd made the socket, it is the listener, in the host's own namespaces: look for who inherited it.
    return livesInOurMountNamespace(listener.pid) ? listenersOf(owner.socket, owner.uid) : [listener.pid];
  }
}

function close({ mount, user, process }: Known): void {
  mount.close();
  user.close();
  process.close();
}

function livesInOurMountNamespace(pid: number): boolean {
  try {
    using theirs = openNamespace(pid, 'mnt');
    using ours = openNamespace('self', 'mnt');
    return isSameFile(stat(theirs), stat(ours));
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** PID_MAX_LIMIT has 7 digits; a longer file is not what Podman wrote. */
const PAUSE_PID = /^\d{1,7}\n?$/;

/** The pid that the user's pause.pid names. The user can write that file, and put anything in its place. */
function pausePid(uid: number): number[] {
  try {
    using runtimeDir = openAbsoluteIfThere(`/run/user/${uid}`);
    using file =
      runtimeDir && openBeneathIfThere(runtimeDir, 'libpod/tmp/pause.pid', O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
    if (!file || !isRegularFile(stat(file))) return [];
    const text = readSmallFile(file, 16);
    return PAUSE_PID.test(text) ? [Number(text)] : [];
  } catch (error) {
    if (error instanceof SyscallError) return [];
    throw error;
  }
}

function identify(pid: number, uid: number): Known | undefined {
  const process = ProcessHandle.open(pid);
  if (!process) return undefined;
  let namespaces: { mount: Handle; user: Handle } | undefined;
  try {
    namespaces = podmanNamespaces(pid, uid);
    if (namespaces && process.isAlive()) return { pid, process, ...namespaces, status: stat(namespaces.mount) };
  } catch (error) {
    if (!isNotHers(error)) {
      process.close();
      throw error;
    }
  }
  namespaces?.mount.close();
  namespaces?.user.close();
  process.close();
  return undefined;
}

function podmanNamespaces(pid: number, uid: number): { mount: Handle; user: Handle } | undefined {
  if (!uidsOf(pid).every((one) => one === uid) || !hasOurRoot(pid)) return undefined;
  using closing = new DisposableStack();
  const user = closing.use(openNamespace(pid, 'user'));
  using ourUser = openNamespace('self', 'user');
  if (isSameFile(stat(user), stat(ourUser)) || ownerUid(user) !== uid) return undefined;
  using parent = parentUserNamespace(user);
  if (!isSameFile(stat(parent), stat(ourUser))) return undefined;
  const mount = closing.use(openNamespace(pid, 'mnt'));
  using owner = owningUserNamespace(mount);
  if (!isSameFile(stat(owner), stat(user))) return undefined;
  closing.move(); // they are the caller's to close
  return { mount, user };
}

/** EACCES: its root directory is on a filesystem that does not let even root look. That is no Podman. */
function isNotHers(error: unknown): boolean {
  return isGone(error) || (error instanceof SyscallError && error.is('EACCES'));
}

/** Whether an error only says that the process, or the namespace, ended while we looked. */
function isGone(error: unknown): boolean {
  if (error instanceof SyscallError) return error.is('ENOENT', 'ESRCH', 'EPERM');
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH');
}
