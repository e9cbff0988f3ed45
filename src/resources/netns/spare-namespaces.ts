import PQueue from 'p-queue';
import type { Clock } from '../../clock.ts';
import { type Handle, openKernelPath } from '../../linux/handle.ts';
import { O } from '../../linux/libc.ts';
import { makeNetworkNamespace, type NewNetworkNamespace } from '../../linux/net/make-network-namespace.ts';
import { pidsIn } from '../../linux/process.ts';
import { isSameFile, stat } from '../../linux/stat.ts';
import type { PodmanOwner } from '../podman-namespaces.ts';
import type { Step } from '../resource.ts';

/** Of a user. One is enough for an allocation now and then; the second is for the next one while the first is made anew. */
const LEAST_SPARES = 2;
/** Of a user: the kernel has some 200 KiB of each. */
const MOST_SPARES = 32;
/** Of a user: each is a process of the user's for some milliseconds, and the user can keep it from ending for seconds. */
const MOST_MAKING = 4;
/** Nobody waits for a spare: starting a process takes the main thread's time from whoever waits for something else. */
const PAUSE_MS = 100;

/** The network namespaces of one user namespace. */
interface Pool {
  readonly owner: PodmanOwner;
  /** Opened by us, since whoever gave it may close his. */
  readonly userNamespace: Handle;
  readonly spares: NewNetworkNamespace[];
  readonly making: PQueue;
  /** How many spares there are to be. */
  wanted: number;
  /** Set while spares are to be made, or are being made. */
  stopFilling: (() => void) | undefined;
  isDropped: boolean;
}

/**
 * Network namespaces that stand ready for each user, bare, in the user namespace of the user's Podman, so that nobody waits
 * for the process that makes one. Only our open files keep them: they go with us, and no process is left behind.
 *
 * They are in use by nobody, and at no path. The user can open the user's own all the same, while the process that makes it
 * runs as her, and prepare something in it: it would be in her own allocation's network, in which she has root's power
 * anyway. Nobody else can: what other users would need is a process of that user's. Each is given away once, and to the user
 * namespace that owns it alone.
 */
export class SpareNamespaces {
  readonly #clock: Pick<Clock, 'after'>;
  readonly #pools = new Map<number, Pool>();

  constructor(clock: Pick<Clock, 'after'>) {
    this.#clock = clock;
  }

  /**
   * Has some made in the background, a moment later, where there are too few, and lets go what is too many.
   * @param expected how many are known to be taken soon; @throws SyscallError
   */
  keep(owner: PodmanOwner, userNamespace: Handle, expected: number): void {
    const pool = this.#poolOf(owner, userNamespace);
    pool.wanted = Math.min(MOST_SPARES, Math.max(LEAST_SPARES, expected));
    for (const { netns } of pool.spares.splice(pool.wanted)) netns.close();
    if (pool.stopFilling || pool.spares.length >= pool.wanted) return;
    pool.stopFilling = this.#clock.after(PAUSE_MS, () => void fill(pool));
  }

  /** One for the caller to keep and to close: a spare, or one that is made now. @throws as makeNetworkNamespace, SyscallError */
  async take(owner: PodmanOwner, userNamespace: Handle): Promise<NewNetworkNamespace> {
    const pool = this.#poolOf(owner, userNamespace);
    pool.wanted = Math.max(LEAST_SPARES, pool.wanted - 1);
    return pool.spares.pop() ?? (await make(pool));
  }

  /** Drops the spares of Podmans that are no more: they would keep the user namespace. */
  async planSweep(): Promise<Step[]> {
    const ended: Pool[] = [];
    for (const pool of this.#pools.values()) {
      if ((await pidsIn(pool.userNamespace, 'user')).length === 0) ended.push(pool);
    }
    return ended.map((pool) => ({
      kind: 'netns',
      what: `the spare network namespaces of a Podman of ${pool.owner.name}'s that has ended`,
      removes: true,
      apply: () => this.#drop(pool),
    }));
  }

  close(): void {
    for (const pool of this.#pools.values()) this.#drop(pool);
  }

  #poolOf(owner: PodmanOwner, userNamespace: Handle): Pool {
    const known = this.#pools.get(owner.uid);
    if (known && isSameFile(stat(known.userNamespace), stat(userNamespace))) return known;
    if (known) this.#drop(known);
    const pool: Pool = {
      owner,
      userNamespace: openKernelPath(`/proc/self/fd/${userNamespace.fd}`, O.RDONLY),
      spares: [],
      wanted: LEAST_SPARES,
      making: new PQueue({ concurrency: MOST_MAKING }),
      stopFilling: undefined,
      isDropped: false,
    };
    this.#pools.set(owner.uid, pool);
    return pool;
  }

  #drop(pool: Pool): void {
    if (this.#pools.get(pool.owner.uid) === pool) this.#pools.delete(pool.owner.uid);
    pool.isDropped = true;
    pool.stopFilling?.();
    for (const { netns } of pool.spares.splice(0)) netns.close();
    // What is being made needs it until then.
    void pool.making.onIdle().then(() => pool.userNamespace.close());
  }
}

async function fill(pool: Pool): Promise<void> {
  try {
    while (!pool.isDropped && pool.spares.length < pool.wanted) {
      const made = await make(pool);
      if (pool.isDropped) made.netns.close();
      else pool.spares.push(made);
    }
  } catch {
    // Whoever takes one next makes it, and hears why that cannot be.
  } finally {
    pool.stopFilling = undefined;
  }
}

function make({ owner, userNamespace, making }: Pool): Promise<NewNetworkNamespace> {
  return making.add(() => makeNetworkNamespace(userNamespace, owner));
}
