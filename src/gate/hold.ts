import type { Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import { isRetryable, NotYetError } from '../errors.ts';

/** How a hold ended. */
export type HoldEnd<T> =
  | { readonly kind: 'done'; readonly value: T }
  | {
      readonly kind: 'timeout';
      /** What it was waiting for at the end, where that is known. */
      readonly reason: NotYetError | undefined;
    }
  | { readonly kind: 'abandoned' }
  | { readonly kind: 'failed'; readonly error: unknown };

/** What holding needs. */
interface HoldParts {
  readonly timeoutMs: number;
  readonly clock: Clock;
}

/** How often what is not so yet is tried while a request is held, in milliseconds. */
const TRIED_EACH_MS = 500;

/**
 * Does something that is part of a hold, again where it may be otherwise in a moment.
 * @throws what it throws for good, and once the signal is aborted what it threw last
 */
export async function untilDone<T>(
  work: () => Promise<T>,
  signal: AbortSignal,
  { clock }: Pick<HoldParts, 'clock'>,
): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isRetryable(error) || signal.aborted) throw error;
      await clock.sleep(TRIED_EACH_MS, signal).catch(() => {
        throw error;
      });
    }
  }
}

/** Waits until `work` is done, the time is up, or the client has left. Never throws. */
export async function hold<T>(
  work: (signal: AbortSignal) => Promise<T>,
  client: Socket,
  { timeoutMs, clock }: HoldParts,
): Promise<HoldEnd<T>> {
  const controller = new AbortController();
  let ended: 'timeout' | 'abandoned' | undefined;
  const give = (kind: 'timeout' | 'abandoned') => () => {
    ended ??= kind;
    controller.abort(new Error(kind));
  };
  const leave = give('abandoned');
  const stopTimer = clock.after(timeoutMs, give('timeout'));
  client.once('end', leave).once('close', leave);
  if (client.readableEnded || client.destroyed) leave();
  try {
    const value = await work(controller.signal);
    return ended === 'abandoned' ? { kind: 'abandoned' } : { kind: 'done', value };
  } catch (error) {
    if (ended === 'abandoned') return { kind: 'abandoned' };
    if (ended === undefined) return { kind: 'failed', error };
    return { kind: 'timeout', reason: error instanceof NotYetError ? error : undefined };
  } finally {
    stopTimer();
    client.off('end', leave).off('close', leave);
  }
}
