import { backoffMs } from './backoff.ts';
import { type Clock, rest } from './clock.ts';
import { retryInMs } from './errors.ts';

/** Soon at first, and never so seldom that a Nomad that was restarted is not found within half a minute. */
const BACKOFF = { firstMs: 250, mostMs: 30_000 };

/** How something is done again. */
interface RetryOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told of each failure, of how many there were in a row, and of when it is tried again, ms. */
  readonly onFailure: (error: unknown, failures: number, inMs: number) => void;
  /** What went on this long before it failed, in ms, went well: the failure counts as the first. */
  readonly steadyMs?: number;
}

/**
 * Does something again and again until it succeeds, whatever it throws; later and later, or as soon as the error says.
 * @returns undefined once the signal is aborted
 */
export async function retry<T>(
  work: () => Promise<T>,
  { clock, signal, onFailure, steadyMs = Number.POSITIVE_INFINITY }: RetryOptions,
): Promise<T | undefined> {
  for (let failures = 0; !signal.aborted; ) {
    const began = clock.monotonic();
    try {
      return await work();
    } catch (error) {
      if (signal.aborted) return undefined;
      failures = clock.monotonic() - began >= steadyMs ? 1 : failures + 1;
      const inMs = Math.round(Math.min(backoffMs(failures, BACKOFF, Math.random()), retryInMs(error)));
      onFailure(error, failures, inMs);
      await rest(clock, inMs, signal);
    }
  }
  return undefined;
}
