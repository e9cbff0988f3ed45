import type { Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import { NotYetError } from '../errors.ts';

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
export interface HoldParts {
  readonly timeoutMs: number;
  readonly clock: Clock;
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
