import { NotYetError } from '../errors.ts';
import { openKernelPath } from '../linux/handle.ts';
import { O, SyscallError } from '../linux/libc.ts';
import { idMapOf, listeningInodes, livesIn, openOwnNamespace, pidsOf } from '../linux/process.ts';
import { socketsOf } from '../linux/read-as-user.ts';
import { readSmallFile } from '../linux/read-small-file.ts';
import { isRegularFile, isSameFile, stat } from '../linux/stat.ts';
import { listenerOf } from '../linux/unix-peer.ts';
import { openUsersFile } from '../linux/users-file.ts';
import { close, type FoundNamespace, identify, type PodmanNamespace } from './podman-process.ts';

/** A user whose Podman we look for; `socket` is the path of the API socket. */
export interface PodmanOwner {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly socket: string;
}

/** The code of what waits for the name service to say who a user is. */
export const USER_NOT_LOOKED_UP = 'user_not_looked_up';

/**
 * The owner with this uid.
 * @throws NotYetError `user_not_looked_up`: whoever is granted access is among them, but for a moment in which her account changes
 */
export function ownerOf(owners: readonly PodmanOwner[], uid: number): PodmanOwner {
  const owner = owners.find((one) => one.uid === uid);
  if (owner) return owner;
  throw new NotYetError(USER_NOT_LOOKED_UP, `the account of uid ${uid} is not known now; it is looked up again`);
}

type KnownNamespace = FoundNamespace & PodmanNamespace;

/**
 * Finds the mount namespaces of a user's Podman: that of the process that serves the API socket, which is the one
 * that counts, and that of the pause process, which the next service will join. There can be two: an old service
 * outlives its pause process.
 *
 * Everything read from the user's side (pause.pid, who listens) is a hint only: `identify` decides. That keeps out other
 * users' processes and the user's own containers, which must not be given anything here. It does not keep out a process
 * that the user dressed up as her Podman: she only gives herself what is hers.
 */
export class PodmanNamespaces {
  readonly #known = new Map<number, KnownNamespace[]>();
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
      (pid) => before.find((one) => one.pid === pid && one.process.isAlive()) ?? identifyWithIds(pid, owner.uid) ?? [],
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
  visitAll(uid: number, visit: (namespace: Omit<PodmanNamespace, 'idMap'>) => void): void {
    const visited = new Set<bigint>();
    for (const pid of pidsOf(uid)) {
      const found = identify(pid, uid, visited);
      if (!found) continue;
      visited.add(found.status.ino);
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
    using ours = openOwnNamespace('mnt');
    return livesIn(listener.pid, stat(ours), 'mnt') ? inheritorsOf(owner) : [listener.pid];
  }
}

function identifyWithIds(pid: number, uid: number): KnownNamespace | undefined {
  const found = identify(pid, uid);
  if (!found) return undefined;
  try {
    const idMap = idMapOf(pid);
    if (found.process.isAlive()) return { ...found, idMap };
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')))
      throw error;
  }
  close(found);
  return undefined;
}

/**
 * Where systemd made the socket, it is the listener, in the host's own namespaces; a service has inherited it, or none
 * runs. One in the namespace of the pause process need not be told from others there.
 */
async function inheritorsOf(owner: PodmanOwner): Promise<number[]> {
  const pids = pidsBesidePause(owner.uid);
  if (pids.length === 0) return [];
  const listening = listeningInodes(owner.socket);
  const sockets = await socketsOf(owner, pids);
  return pids.filter((pid) => sockets.get(pid)?.some((inode) => listening.has(inode)));
}

/** The user's processes that could be a Podman of hers, in other mount namespaces than that of her pause process. */
function pidsBesidePause(uid: number): number[] {
  const pauses = pausePid(uid).flatMap((pid) => identify(pid, uid) ?? []);
  const known = new Set(pauses.map(({ status }) => status.ino));
  const pids = pidsOf(uid).filter((pid) => {
    const found = identify(pid, uid, known);
    if (found) close(found);
    return found !== undefined;
  });
  pauses.forEach(close); // not before: the number of a namespace that has ended may be another one's
  return pids;
}

/** PID_MAX_LIMIT has 7 digits; a longer file is not what Podman wrote. */
const PAUSE_PID = /^\d{1,7}\n?$/;

/** The pid that the user's pause.pid names. The user can write that file, and put anything in its place. */
function pausePid(uid: number): number[] {
  try {
    using file = openUsersFile(`/run/user/${uid}/libpod/tmp/pause.pid`);
    if (!file || !isRegularFile(stat(file))) return [];
    using opened = openKernelPath(`/proc/self/fd/${file.fd}`, O.RDONLY | O.NONBLOCK);
    const text = readSmallFile(opened, 16);
    return PAUSE_PID.test(text) ? [Number(text)] : [];
  } catch (error) {
    if (error instanceof SyscallError) return [];
    throw error;
  }
}
