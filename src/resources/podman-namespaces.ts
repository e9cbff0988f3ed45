import { type Clock, letOthersRun } from '../clock.ts';
import { failedWith, NotYetError } from '../errors.ts';
import { openKernelPath } from '../linux/handle.ts';
import { O, SyscallError } from '../linux/libc.ts';
import { idMapOf, listeningInodes, livesIn, nameOf, openOwnNamespace, pidsOf } from '../linux/process.ts';
import { holdersOf } from '../linux/read-as-user.ts';
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

/** Those of a user, held open until they are disposed of. */
interface UserNamespaces extends Disposable {
  readonly namespaces: readonly Omit<PodmanNamespace, 'idMap'>[];
}

/** What is done in all of them is done in one step, which takes a millisecond each. */
const MOST_NAMESPACES = 32;
/** A user can have thousands, in thousands of namespaces; half a millisecond each. */
const MOST_PROCESSES = 512;
const SLICE = 8;
/** What Podman's own processes call themselves, the monitors of containers among them: a hint, to find them among many. */
const PODMANS = ['podman', 'conmon'];
/**
 * For this long what was found is not looked for again while all of it lives. Of a user's many allocations each asks; and another Podman
 * of the user's comes only after the former one has ended.
 */
const FRESH_MS = 100;

type KnownNamespace = FoundNamespace & PodmanNamespace;

/**
 * Finds the mount namespaces of a user's Podman: that of the process that serves the API socket, which is the one
 * that counts, and that of the pause process, which the next service will join. There can be two: an old service
 * outlives its pause process.
 *
 * Everything read from the user's side (pause.pid, who listens) is a hint only: `identify` decides. That keeps out other
 * users' processes and the user's own containers, which must not be given anything here. It does not keep out a process
 * that the user dressed up as her Podman: that gives the user only what the user has.
 */
export class PodmanNamespaces {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #known = new Map<number, { readonly all: readonly KnownNamespace[]; readonly at: number }>();
  readonly #looking = new Map<number, Promise<void>>();

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

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
    const { all: before, at } = this.#known.get(owner.uid) ?? { all: [], at: 0 };
    const isFresh = before.length > 0 && this.#clock.monotonic() - at < FRESH_MS;
    if (isFresh && before.every(({ process }) => process.isAlive())) return onceEach(before);
    const pids = new Set([...(await this.#servicePids(owner)), ...pausePid(owner.uid)]);
    const found = [...pids].flatMap(
      (pid) => before.find((one) => one.pid === pid && one.process.isAlive()) ?? identifyWithIds(pid, owner.uid) ?? [],
    );
    for (const one of before) if (!found.includes(one)) close(one);
    this.#known.set(owner.uid, { all: found, at: this.#clock.monotonic() });
    return onceEach(found);
  }

  /**
   * The mount namespaces in which processes of the user live, as far as they could be a Podman of the user's: also those that her
   * Podman has left, and in which only the monitor of a container is still there. To take something away; what is to be
   * granted goes to `of` alone. Of a user with very many not all are found, Podman's first.
   * @param uid the user; need not have a gate any more
   */
  async all(uid: number): Promise<UserNamespaces> {
    const found: FoundNamespace[] = [];
    const known = new Set<bigint>();
    const dispose = () => found.forEach(close);
    try {
      for await (const one of identified(await pidsOf(uid), uid, known)) {
        known.add(one.status.ino);
        if (found.push(one) === MOST_NAMESPACES) break;
      }
    } catch (error) {
      dispose();
      throw error;
    }
    return { namespaces: found, [Symbol.dispose]: dispose };
  }

  close(): void {
    for (const { all } of this.#known.values()) all.forEach(close);
    this.#known.clear();
  }

  async #servicePids(owner: PodmanOwner): Promise<number[]> {
    const listener = await listenerOf(owner.socket);
    if (listener?.uid !== owner.uid) return [];
    const cached = this.#known.get(owner.uid)?.all.map((one) => one.pid) ?? [];
    if (cached.includes(listener.pid)) return [listener.pid];
    using ours = openOwnNamespace('mnt');
    return livesIn(listener.pid, stat(ours), 'mnt') ? inheritorsOf(owner) : [listener.pid];
  }
}

/** Service and pause process mostly share one: each is remembered, the namespace is given once. */
function onceEach(found: readonly KnownNamespace[]): readonly PodmanNamespace[] {
  return found.filter((one, at) => found.findIndex((other) => isSameFile(other.status, one.status)) === at);
}

function identifyWithIds(pid: number, uid: number): KnownNamespace | undefined {
  const found = identify(pid, uid);
  if (!found) return undefined;
  try {
    const idMap = idMapOf(pid);
    if (found.process.isAlive()) return { ...found, idMap };
  } catch (error) {
    if (!failedWith(error, 'ENOENT', 'ESRCH')) throw error;
  }
  close(found);
  return undefined;
}

/**
 * Where systemd made the socket, it is the listener, in the host's own namespaces; a service has inherited it, or none
 * runs. One in the namespace of the pause process need not be told from others there.
 */
async function inheritorsOf(owner: PodmanOwner): Promise<number[]> {
  const pids = await pidsBesidePause(owner.uid);
  if (pids.length === 0) return [];
  const holders = await holdersOf(owner, pids, await listeningInodes(owner.socket));
  return pids.filter((pid) => holders.has(pid));
}

/** The user's processes that could be a Podman of the user's, in other mount namespaces than that of her pause process. */
async function pidsBesidePause(uid: number): Promise<number[]> {
  const pauses = pausePid(uid).flatMap((pid) => identify(pid, uid) ?? []);
  const known = new Set(pauses.map(({ status }) => status.ino));
  const pids: number[] = [];
  try {
    for await (const found of identified(await pidsOf(uid), uid, known)) {
      pids.push(found.pid);
      close(found);
    }
  } finally {
    pauses.forEach(close); // not before: the number of a namespace that has ended may be another one's
  }
  return pids;
}

/** Those of these processes that could be a Podman of the user's, each the caller's to close. @param passOver as of identify */
async function* identified(
  pids: readonly number[],
  uid: number,
  passOver: ReadonlySet<bigint>,
): AsyncGenerator<FoundNamespace> {
  const first = pids.length > MOST_PROCESSES ? (await podmansFirst(pids)).slice(0, MOST_PROCESSES) : pids;
  for (const [index, pid] of first.entries()) {
    if (index % SLICE === SLICE - 1) await letOthersRun();
    const found = identify(pid, uid, passOver);
    if (found) yield found;
  }
}

async function podmansFirst(pids: readonly number[]): Promise<number[]> {
  const podmans = new Set<number>();
  for (const [index, pid] of pids.entries()) {
    if (index % MOST_PROCESSES === MOST_PROCESSES - 1) await letOthersRun();
    if (PODMANS.includes(nameOf(pid))) podmans.add(pid);
  }
  return [...podmans, ...pids.filter((pid) => !podmans.has(pid))];
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
