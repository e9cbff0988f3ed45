import PQueue from 'p-queue';
import type { Clock } from '../clock.ts';
import type { Metrics } from '../metrics.ts';

/** How soon an id is to have its turn: somebody waits for it, it changed, or it is only looked at again. */
export type Urgency = 'awaited' | 'changed' | 'due';

const PRIORITY: Readonly<Record<Urgency, number>> = { awaited: 2, changed: 1, due: 0 };

/** What the queue is made of. `run` must not throw: it reports errors itself. */
export interface WorkQueueOptions {
  readonly run: (id: string) => Promise<void>;
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
  readonly #queue: PQueue;
  readonly #waiting = new Map<string, number>();
  readonly #running = new Set<string>();
  readonly #again = new Map<string, number>();
  readonly #timers = new Map<string, () => void>();
  readonly #onRun = new Map<string, (() => void)[]>();

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#queue = new PQueue({ concurrency: options.concurrency });
  }

  /** Puts an id in the queue, before those that are less urgent. */
  add(id: string, urgency: Urgency = 'changed'): void {
    this.#cancelTimer(id);
    const priority = PRIORITY[urgency];
    this.#options.metrics.queueAdds.inc();
    if (this.#running.has(id)) {
      this.#again.set(id, Math.max(priority, this.#again.get(id) ?? 0));
      return;
    }
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) this.#enqueue(id, priority);
    else if (waiting < priority) this.#raise(id, priority);
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
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    this.#again.clear();
    this.#queue.clear();
    this.#waiting.clear();
    for (const id of this.#onRun.keys()) this.#told(id);
    await this.#queue.onIdle();
  }

  #raise(id: string, priority: number): void {
    this.#waiting.set(id, priority);
    this.#queue.setPriority(id, priority);
  }

  #enqueue(id: string, priority: number): void {
    this.#waiting.set(id, priority);
    this.#showDepth();
    this.#queue.add(() => this.#run(id), { priority, id });
  }

  async #run(id: string): Promise<void> {
    this.#waiting.delete(id);
    this.#running.add(id);
    this.#showDepth();
    try {
      await this.#options.run(id);
    } finally {
      this.#running.delete(id);
      const priority = this.#again.get(id);
      this.#again.delete(id);
      if (priority !== undefined) this.#enqueue(id, priority);
      this.#told(id);
    }
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
