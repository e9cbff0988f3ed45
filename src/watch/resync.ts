import { type Clock, rest } from '../clock.ts';
import { codeOf, messageOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Allocation } from '../model/allocation.ts';
import type { Nomad } from '../nomad/nomad.ts';
import { retry } from '../retry.ts';
import { WarnedOnce } from '../warned-once.ts';

/** What the listing of a node's allocations needs, and what it tells. */
interface ListingOptions {
  readonly nomad: Pick<Nomad, 'nodeAllocations'>;
  readonly nodeId: string;
  /** Between one listing and the next, in milliseconds. */
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /**
   * What is there, and when Nomad was asked for it (monotonic, in milliseconds). What is missing proves nothing: Nomad
   * leaves out what the token may not read. Whether an allocation is gone, only asking for that one says.
   */
  readonly onListing: (allocations: readonly Allocation[], askedAt: number) => void;
  /** A listing failed, and why, in words. What is there is not known now. */
  readonly onFailure: (problem: string) => void;
}

/** A running watch of the node's allocations. */
interface ListingWatch {
  /** Lists again at once, or right after what is waited for: the listing under way, the back-off, a second of quiet. */
  refresh(): void;
  /** Resolves when the signal is aborted. Rejects only with what `onListing` throws. */
  readonly finished: Promise<void>;
}

/** Between a listing and the next one that is asked for: a stream that keeps breaking off must not keep Nomad busy. */
const QUIET_MS = 1000;

/** Lists the node's allocations now, after every interval and when asked, until the signal is aborted. */
export function watchListing(options: ListingOptions, signal: AbortSignal): ListingWatch {
  let wake = new AbortController();
  const finished = run(options, signal, () => {
    wake = new AbortController();
    return wake.signal;
  });
  return { refresh: () => wake.abort(), finished };
}

async function run(options: ListingOptions, signal: AbortSignal, newWake: () => AbortSignal): Promise<void> {
  const { clock, metrics, intervalMs, onListing } = options;
  const warned = new WarnedOnce(clock);
  const onFailure = (error: unknown, failures: number, inMs: number) => {
    options.onFailure(messageOf(error));
    metrics.errors.inc({ code: codeOf(error) });
    const level = warned.levelOf('listing', messageOf(error));
    const message = `listing allocations: ${messageOf(error)}; trying again`;
    options.log[level]({ code: codeOf(error), failures, inMs }, message);
  };
  const ask = async () => {
    const woken = newWake();
    const askedAt = clock.monotonic();
    return { allocations: await list(options, signal), askedAt, woken };
  };
  while (!signal.aborted) {
    const listing = await retry(ask, { clock, signal, onFailure });
    if (!listing || signal.aborted) return;
    warned.over('listing');
    metrics.resyncTimestamp.set(clock.now() / 1000);
    onListing(listing.allocations, listing.askedAt);
    await rest(clock, QUIET_MS, signal);
    await rest(clock, intervalMs - QUIET_MS, AbortSignal.any([signal, listing.woken]));
  }
}

async function list(
  { nomad, nodeId, log, metrics }: ListingOptions,
  signal: AbortSignal,
): Promise<readonly Allocation[]> {
  const { allocations, malformed } = await nomad.nodeAllocations(nodeId, signal);
  for (const { id, error } of malformed) {
    metrics.errors.inc({ code: error.code });
    log.warn({ code: error.code, allocation: id }, `listing allocations: ${messageOf(error)}; left out`);
  }
  return allocations;
}
