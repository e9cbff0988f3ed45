/** How soon an id is to have its turn: it is only looked at again, it changed, or somebody waits for it. */
export const PRIORITIES = { due: 0, changed: 1, awaited: 2 } as const;
export type Urgency = keyof typeof PRIORITIES;
/** The more, the sooner. */
export type Priority = (typeof PRIORITIES)[Urgency];

const SOONEST_FIRST = [PRIORITIES.awaited, PRIORITIES.changed, PRIORITIES.due] as const;

interface Share {
  readonly name: string;
  running: number;
  isPaused: boolean;
  /** How often in a row it was slow. */
  failures: number;
  /** By priority, in the order in which they came. */
  readonly waiting: readonly [Set<string>, Set<string>, Set<string>];
}

/**
 * Ids that wait and run, each for a share, and which is next: of those that may run the most urgent, and of these one of the
 * share whose last turn was the longest ago. A share has few slots, so that what one waits for keeps nobody else waiting.
 */
export class Shares {
  /** In the order of their turns. */
  readonly #shares = new Map<string, Share>();
  readonly #shareOf = new Map<string, Share>();
  readonly #slots: (share: string) => number;

  /** @param slots how many of a share may run at once */
  constructor(slots: (share: string) => number) {
    this.#slots = slots;
  }

  /** An id, which neither waits nor runs, is to have a turn. */
  wait(id: string, share: string, priority: Priority): void {
    const one = this.#named(share);
    one.waiting[priority].add(id);
    this.#shareOf.set(id, one);
  }

  /** An id that waits is more urgent now. */
  raise(id: string, priority: Priority): void {
    const share = this.#shareOf.get(id);
    if (!share) return;
    for (const ids of share.waiting) ids.delete(id);
    share.waiting[priority].add(id);
  }

  /** The id whose turn it is, which runs from here on; undefined where none may run. */
  next(): string | undefined {
    for (const priority of SOONEST_FIRST) {
      for (const share of this.#shares.values()) {
        const [id] = this.#isFree(share) ? share.waiting[priority] : [];
        if (id === undefined) continue;
        share.waiting[priority].delete(id);
        share.running++;
        this.#shares.delete(share.name);
        this.#shares.set(share.name, share);
        return id;
      }
    }
    return undefined;
  }

  /** What runs goes on for another share. @returns false where that has no slot free: then nothing has changed */
  move(id: string, to: string): boolean {
    const from = this.#shareOf.get(id);
    if (!from || from.name === to) return true;
    const share = this.#named(to);
    if (!this.#isFree(share)) return false;
    share.running++;
    this.#shareOf.set(id, share);
    this.#leave(from);
    return true;
  }

  /** What ran has ended. */
  end(id: string): void {
    const share = this.#shareOf.get(id);
    if (!share) return;
    this.#shareOf.delete(id);
    this.#leave(share);
  }

  /** Nothing of the share of what runs is begun until it goes on. @returns its name, and how often in a row that was so */
  pause(id: string): { readonly share: string; readonly failures: number } | undefined {
    const share = this.#shareOf.get(id);
    if (!share || share.isPaused) return undefined;
    share.isPaused = true;
    share.failures++;
    return { share: share.name, failures: share.failures };
  }

  /** A share that was paused goes on. */
  resume(name: string): void {
    const share = this.#shares.get(name);
    if (share) share.isPaused = false;
  }

  /** The share of what runs was not slow this time. */
  succeed(id: string): void {
    const share = this.#shareOf.get(id);
    if (share) share.failures = 0;
  }

  /** Nothing that waits gets a turn. */
  clear(): void {
    for (const share of this.#shares.values()) for (const ids of share.waiting) ids.clear();
  }

  #isFree(share: Share): boolean {
    return !share.isPaused && share.running < this.#slots(share.name);
  }

  #named(name: string): Share {
    const share = this.#shares.get(name) ?? {
      name,
      running: 0,
      isPaused: false,
      failures: 0,
      waiting: [new Set<string>(), new Set<string>(), new Set<string>()],
    };
    this.#shares.set(name, share);
    return share;
  }

  #leave(share: Share): void {
    share.running--;
    const isIdle = share.running === 0 && share.waiting.every((ids) => ids.size === 0);
    if (isIdle && !share.isPaused && share.failures === 0) this.#shares.delete(share.name);
  }
}
