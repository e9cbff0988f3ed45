import type { Clock } from './clock.ts';

/** Somebody who looks at the last lines of the log is to find what still goes on. */
const AGAIN_MS = 300_000;

/**
 * At which level to log what happens again and again: of each kind it is warned of once, and again when what is said of it
 * changes or some minutes have passed. Stops a user whose Podman answers nonsense, and a Nomad that is away, from filling the log.
 */
export class WarnedOnce {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #warned = new Map<string, { readonly what: string; readonly at: number }>();

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /**
   * @param kind of which there are few
   * @param what is said of it, without what others can make different each time
   */
  levelOf(kind: string, what: string): 'warn' | 'debug' {
    const now = this.#clock.monotonic();
    const last = this.#warned.get(kind);
    if (last?.what === what && now - last.at < AGAIN_MS) return 'debug';
    this.#warned.set(kind, { what, at: now });
    return 'warn';
  }

  /** It is over: the next of this kind is a first one. */
  over(kind: string): void {
    this.#warned.delete(kind);
  }
}
