import type { Clock } from '../clock.ts';
import { codeOf, messageOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { GhostStatus } from '../model/status.ts';
import type { Ghost, GhostSource } from './ghost.ts';

/** What a watch works with. */
export interface GhostWatchOptions {
  /** How long a ghost is left before it is removed, ms; undefined: for ever. */
  readonly graceMs: number | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'ghosts' | 'ghostsRemoved' | 'errors'>;
}

/** A ghost that is remembered from look to look. */
interface Known {
  ghost: Ghost;
  /** When it was first seen: ms since the epoch, and by the monotonic clock. */
  readonly since: number;
  readonly seenAt: number;
  lastError: unknown;
}

/** After what failed. */
const RETRY_MS = 60_000;

/**
 * Looks at one source, one look at a time, and removes what every look has shown for the whole grace. What one look does not
 * show begins anew: Nomad said something else, or nothing. A source that hangs keeps only its own watch waiting.
 */
export class GhostWatch {
  readonly #source: GhostSource;
  readonly #options: GhostWatchOptions;
  #known = new Map<string, Known>();
  #next: { readonly at: number; readonly cancel: () => void } | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(source: GhostSource, options: GhostWatchOptions) {
    this.#source = source;
    this.#options = options;
  }

  /** Has a look after that time, unless there is one before. */
  lookIn(ms: number): void {
    const { clock } = this.#options;
    const at = clock.monotonic() + ms;
    if (this.#isStopped || (this.#next && this.#next.at <= at)) return;
    this.#next?.cancel();
    const look = () => {
      this.#next = undefined;
      this.#looking = this.#looking.then(() => this.#look());
    };
    this.#next = { at, cancel: clock.after(ms, look) };
  }

  ghosts(): GhostStatus[] {
    const { graceMs } = this.#options;
    return [...this.#known.values()].map(({ ghost, since, lastError }) => {
      const { kind, name, allocationId, user, state, why } = ghost;
      const error = lastError === undefined ? undefined : { code: codeOf(lastError), message: messageOf(lastError) };
      const removedAt = graceMs === undefined ? undefined : since + graceMs;
      return { kind, name, allocationId, user, state, since, removedAt, why, lastError: error };
    });
  }

  /** Looks no more, and forgets what was seen. A removal under way is not waited for. */
  stop(): void {
    this.#isStopped = true;
    this.#next?.cancel();
    this.#remember(new Map());
  }

  async #look(): Promise<void> {
    const { log, metrics } = this.#options;
    if (this.#isStopped) return;
    try {
      const seen = await this.#source.look();
      if (this.#isStopped) return;
      this.#see(seen);
      for (const known of this.#due()) await this.#remove(known);
    } catch (error) {
      if (this.#isStopped) return;
      metrics.errors.inc({ code: codeOf(error) });
      log.debug({ code: codeOf(error) }, `looking for ghosts among ${this.#source.what}: ${messageOf(error)}`);
      for (const known of this.#known.values()) known.lastError = error;
    }
    this.#lookWhenDue();
  }

  #see(seen: readonly Ghost[]): void {
    const { clock, log } = this.#options;
    const next = new Map<string, Known>();
    for (const ghost of seen) {
      const known = this.#known.get(ghost.key);
      if (known) Object.assign(known, { ghost, lastError: undefined });
      else log.warn(fieldsOf(ghost), `left behind: ${ghost.kind} ${ghost.name} (${ghost.state}): ${ghost.why}`);
      const first = { ghost, since: clock.now(), seenAt: clock.monotonic(), lastError: undefined };
      next.set(ghost.key, known ?? first);
    }
    this.#remember(next);
  }

  #due(): Known[] {
    const { graceMs, clock } = this.#options;
    if (graceMs === undefined) return [];
    return [...this.#known.values()].filter(({ seenAt }) => clock.monotonic() - seenAt >= graceMs);
  }

  async #remove(known: Known): Promise<void> {
    const { log, metrics } = this.#options;
    const { ghost } = known;
    if (this.#isStopped) return;
    try {
      await ghost.remove();
    } catch (error) {
      known.lastError = error;
      metrics.errors.inc({ code: codeOf(error) });
      log.warn(
        { ...fieldsOf(ghost), code: codeOf(error) },
        `cannot remove ${ghost.kind} ${ghost.name}: ${messageOf(error)}`,
      );
      return;
    }
    metrics.ghostsRemoved.inc({ kind: ghost.kind });
    log.info(fieldsOf(ghost), `removed ${ghost.kind} ${ghost.name}, left behind: ${ghost.why}`);
    this.#remember(new Map([...this.#known].filter(([key]) => key !== ghost.key)));
  }

  #lookWhenDue(): void {
    const { graceMs, clock } = this.#options;
    if (graceMs === undefined || this.#known.size === 0) return;
    const waits = [...this.#known.values()].map(({ seenAt, lastError }) =>
      lastError === undefined ? seenAt + graceMs - clock.monotonic() : RETRY_MS,
    );
    this.lookIn(Math.max(0, Math.min(...waits)));
  }

  #remember(known: Map<string, Known>): void {
    const { ghosts } = this.#options.metrics;
    for (const { ghost } of this.#known.values()) ghosts.dec({ kind: ghost.kind });
    for (const { ghost } of known.values()) ghosts.inc({ kind: ghost.kind });
    this.#known = known;
  }
}

function fieldsOf({ kind, user, allocationId }: Ghost) {
  return { allocation: allocationId, kind, user };
}
