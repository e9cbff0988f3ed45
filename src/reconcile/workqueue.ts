import { type BackoffOptions, backoffMs } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import type { Metrics } from '../metrics.ts';
import { PRIORITIES, type Priority, Shares, type Urgency } from './shares.ts';

/** For how long nothing more is begun for a share that was slow, so that its slots are not all that it has. */
const SLOW_BACKOFF: BackoffOptions = { firstMs: 500, mostMs: 5000 };

/** A run of an id. */
export interface Turn {
  /**
   * It turns out to be for this share. @returns whether it may go on: where that share has no slot free it has to end, and
   * has its turn again later
   */
  goOnFor(share: string): boolean;
}

/** What the queue is made of. */
interface WorkQueueOptions {
  /** Must not throw: it reports errors itself. @returns `slow` where its share is to be left alone for a while */
  readonly run: (id: string, turn: Turn) => Promise<'slow' | 'done'>;
  /** For whom an id would run, as far as that is known. */
  readonly shareOf: (id: string) => string;
  /** How many of a share may run at once. */
  readonly slots: (share: string) => number;
  /** How many may run at once of all. */
  readonly concurrency: number;
  readonly clock: Clock;
  readonly metrics: Metrics;
}

/**
 * A queue of allocation ids. It holds an id once however often it is added, never runs one id twice at once, and runs
 * it again if it was added while it ran: the state it then reads is newer than what was added.
 */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #shares: Shares;
  readonly #waiting = new Map<string, Priority>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #again = new Map<string, Priority>();
  readonly #timers = new Map<string, () => void>();
  readonly #onRun = new Map<string, (() => void)[]>();
  #isStopped = false;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#shares = new Shares(options.slots);
  }

  /** Puts an id in the queue, before those that are less urgent. */
  add(id: string, urgency: Urgency = 'changed'): void {
    this.#cancelTimer(id);
    const priority = PRIORITIES[urgency];
    this.#options.metrics.queueAdds.inc();
    const again = this.#again.get(id);
    const waiting = this.#waiting.get(id);
    if (this.#running.has(id)) {
      if (again === undefined || again < priority) this.#again.set(id, priority);
    } else if (waiting === undefined) this.#enqueue(id, priority);
    else if (waiting < priority) {
      this.#waiting.set(id, priority);
      this.#shares.raise(id, priority);
    }
  }

  /** Puts an id in the queue after a time, unless it gets there before. */
  addAfter(id: string, ms: number): void {
    if (this.#waiting.has(id) || this.#again.has(id)) return;
    this.#cancelTimer(id);
    this.#options.metrics.queueRetries.inc();
    this.#timers.set(
      id,
      this.#options.clock.after(ms, () => this.add(id)),
    );
  }

  /** Resolves when an id neither runs nor waits for its turn. One that was put off does not count. */
  async whenIdle(id: string): Promise<void> {
    while (this.#running.has(id) || this.#waiting.has(id)) {
      await new Promise<void>((resolve) => {
        this.#onRun.set(id, [...(this.#onRun.get(id) ?? []), resolve]);
      });
    }
  }

  /** Takes what waits out of the queue and resolves when what runs has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    this.#again.clear();
    this.#shares.clear();
    this.#waiting.clear();
    for (const id of this.#onRun.keys()) this.#told(id);
    await Promise.all(this.#running.values());
  }

  #enqueue(id: string, priority: Priority): void {
    if (this.#isStopped) return;
    this.#waiting.set(id, priority);
    this.#shares.wait(id, this.#options.shareOf(id), priority);
    this.#showDepth();
    this.#fill();
  }

  #fill(): void {
    while (this.#running.size < this.#options.concurrency) {
      const id = this.#shares.next();
      if (id === undefined) return;
      const priority = this.#waiting.get(id) ?? PRIORITIES.due;
      this.#waiting.delete(id);
      this.#showDepth();
      const ended = Promise.withResolvers<void>();
      this.#running.set(id, ended.promise);
      void this.#run(id, priority).finally(ended.resolve);
    }
  }

  async #run(id: string, priority: Priority): Promise<void> {
    let isPutOff = false;
    const goOnFor = (share: string) => {
      const mayGoOn = this.#shares.move(id, share);
      isPutOff ||= !mayGoOn;
      return mayGoOn;
    };
    try {
      const result = await this.#options.run(id, { goOnFor });
      if (result === 'slow') this.#leaveAlone(id);
      else if (!isPutOff) this.#shares.succeed(id);
    } finally {
      this.#running.delete(id);
      this.#shares.end(id);
      const again = this.#again.get(id);
      this.#again.delete(id);
      const next = isPutOff && (again === undefined || again < priority) ? priority : again;
      if (next !== undefined) this.#enqueue(id, next);
      this.#told(id);
      this.#fill();
    }
  }

  /** The share of what was slow gets no turn for a while: no pass over any allocation of that user, since it is the user who is slow. */
  #leaveAlone(id: string): void {
    const paused = this.#shares.pause(id);
    if (!paused) return;
    this.#options.clock.after(backoffMs(paused.failures, SLOW_BACKOFF, Math.random()), () => {
      this.#shares.resume(paused.share);
      this.#fill();
    });
  }

  #told(id: string): void {
    const waiting = this.#onRun.get(id) ?? [];
    this.#onRun.delete(id);
    for (const resolve of waiting) resolve();
  }

  #cancelTimer(id: string): void {
    this.#timers.get(id)?.();
    this.#timers.delete(id);
  }

  #showDepth(): void {
    this.#options.metrics.queueDepth.set(this.#waiting.size);
  }
}
