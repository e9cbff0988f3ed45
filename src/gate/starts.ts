import type { Clock } from '../clock.ts';
import { RefusedError } from '../errors.ts';

interface Start {
  readonly allocationId: string;
  readonly since: number;
  /** Why the task may not run; undefined where it may. Does not resolve before that is known. */
  readonly refusal: Promise<RefusedError | undefined>;
  readonly over: AbortController;
}

/**
 * Between its look for the container and its create the driver removes an old container and looks for the image, each for at most
 * 60 s (client_http_timeout); a pull has been asked for by then. A start that is not over after that will have no create.
 */
const MOST_MS = 180_000;

/**
 * The starts of tasks that are under way at a gate, by the names of their containers: from the driver's look for one to its
 * create. Requests for images do not say which task they are for. They are a start's, so while nothing that starts here may run,
 * they are one's that may not.
 *
 * Does not stop: a task that may not run from having its image pulled while another one that may is between these two.
 */
export class Starts {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #starts = new Map<string, Start>();

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /** The allocations of which a task is being started. */
  get allocationIds(): string[] {
    this.#endOld();
    return [...new Set([...this.#starts.values()].map(({ allocationId }) => allocationId))];
  }

  /**
   * The driver has begun to start a task.
   * @param permitted rejects with a RefusedError where the task may not run, and with anything else where that is not known
   */
  begin(container: string, allocationId: string, permitted: (over: AbortSignal) => Promise<void>): void {
    this.end(container);
    this.#endOld();
    const over = new AbortController();
    const refusal = permitted(over.signal).then(
      () => undefined,
      (error: unknown) => {
        if (error instanceof RefusedError) return error;
        throw error;
      },
    );
    refusal.catch(() => undefined); // what is not known is waited for
    this.#starts.set(container, { allocationId, since: this.#clock.monotonic(), refusal, over });
  }

  /** Its create has come to its end. */
  end(container: string): void {
    this.#starts.get(container)?.over.abort(new Error('the start is over'));
    this.#starts.delete(container);
  }

  /**
   * Resolves with undefined as soon as one of what starts now may run, or where nothing starts; with why the last one may not once
   * it is known that none may.
   * @throws the signal's reason
   */
  refusal(signal: AbortSignal): Promise<RefusedError | undefined> {
    this.#endOld();
    const starts = [...this.#starts.values()];
    return new Promise((resolve, reject) => {
      if (starts.length === 0) resolve(undefined);
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      let unknown = starts.length;
      for (const { refusal } of starts) {
        refusal.then(
          (why) => {
            unknown--;
            if (why === undefined || unknown === 0) resolve(why);
          },
          () => undefined,
        );
      }
    });
  }

  #endOld(): void {
    for (const [container, { since }] of this.#starts) {
      if (this.#clock.monotonic() - since >= MOST_MS) this.end(container);
    }
  }
}
