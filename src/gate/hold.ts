import type { Clock } from '../clock.ts';
import { NotYetError } from '../errors.ts';
import type { Metrics } from '../metrics.ts';
import type { SocketReader } from './socket-reader.ts';

/** How a held create ended. */
export type HoldEnd =
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'timeout' /** What it was waiting for at the end, where that is known. */;
      readonly reason: string | undefined;
    }
  | { readonly kind: 'abandoned' }
  | { readonly kind: 'failed'; readonly error: unknown };

/** What holding needs. */
export interface HoldParts {
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, 'gateHeld' | 'gateHoldSeconds'>;
}

/** Waits until `untilReady` resolves, the time is up, or the client has left. Never throws. */
export async function hold(
  untilReady: (signal: AbortSignal) => Promise<void>,
  client: SocketReader,
  parts: HoldParts,
): Promise<HoldEnd> {
  const { timeoutMs, clock, metrics } = parts;
  const from = clock.monotonic();
  const controller = new AbortController();
  let ended: 'timeout' | 'abandoned' | undefined;
  const give = (kind: 'timeout' | 'abandoned') => () => {
    ended ??= kind;
    controller.abort(new Error(kind));
  };
  const stopTimer = clock.after(timeoutMs, give('timeout'));
  const stopWatching = client.whenLeft(give('abandoned'));
  metrics.gateHeld.inc();
  try {
    await untilReady(controller.signal);
    if (ended === 'abandoned') return { kind: 'abandoned' };
    metrics.gateHoldSeconds.observe((clock.monotonic() - from) / 1000);
    return { kind: 'ready' };
  } catch (error) {
    if (ended === 'abandoned') return { kind: 'abandoned' };
    if (ended === undefined) return { kind: 'failed', error };
    return { kind: 'timeout', reason: error instanceof NotYetError ? error.message : undefined };
  } finally {
    metrics.gateHeld.dec();
    stopTimer();
    stopWatching();
  }
}
