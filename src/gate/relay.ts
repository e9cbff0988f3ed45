import type { Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import { type DocumentLimit, readDocument } from './document.ts';
import type { Request } from './request.ts';

/** How a relay goes. */
export interface RelayOptions {
  /** Whether what the client sends behind its request is passed on: its body's rest, or the raw bytes of a hijack. */
  readonly isRaw: boolean;
  /** How long Podman may take to answer at all, in milliseconds. */
  readonly answerWithinMs?: number | undefined;
  /** What the answer is bounded by, where it is one document; undefined for what streams. */
  readonly document?: DocumentLimit | undefined;
  readonly clock: Pick<Clock, 'after'>;
  /** Called with the first bytes of the answer and all that follow, before they are passed on. */
  readonly onAnswer: (chunk: Buffer) => void;
}

/** How passing a request ended: Podman answered, closed before it had, was silent for too long, or answered too much. */
export type RelayEnd = 'answered' | 'closed' | 'silent' | 'too_long';

/**
 * Passes one request to Podman, and its answer back, as raw bytes: neither is changed, and where the answer ends is for
 * Podman to say, by closing. Without `isRaw` not a byte behind the request's body reaches Podman. A document is passed on when it
 * is whole.
 *
 * Stops a user whose Podman does not close: for the driver's client (Go's net/http) the connection could be used again then,
 * and the next request on it, a ping before all, would wait for an answer until the driver calls itself unhealthy for
 * everybody. A client that sends more after its answer has begun is cut off, and asks on a connection of its own.
 *
 * Resolves when the answer is over or either side is gone; where Podman has not answered a byte, because it closed or let the
 * time pass, or where its document is too long, the client is as it was. Never throws.
 */
export async function relay(
  client: Socket,
  podman: Socket,
  { head, bytes, body }: Request,
  { isRaw, answerWithinMs, document, clock, onAnswer }: RelayOptions,
): Promise<RelayEnd> {
  const carryEnd = () => podman.end();
  const carryLoss = () => podman.destroy();
  if (client.destroyed) {
    podman.destroy();
    return 'closed';
  }
  client.once('close', carryLoss);
  if (isRaw) {
    podman.write(bytes);
    if (body) podman.write(body);
    client.pipe(podman);
  } else {
    podman.write(body && body.length > 0 ? Buffer.concat([bytes, body]) : bytes);
    client.once('end', carryEnd).resume();
    if (client.readableEnded) carryEnd();
  }

  const answer = await answerOf(podman, answerWithinMs, clock);
  const whole = document && answer === 'answered' ? await readDocument(podman, head.method, document) : undefined;
  const end = document && answer === 'answered' && !whole ? 'too_long' : answer;
  if (end !== 'answered') {
    client.unpipe(podman).off('end', carryEnd).off('close', carryLoss);
    podman.destroy();
    return end;
  }
  if (!isRaw) client.on('data', () => client.destroy());
  if (document && whole) {
    onAnswer(whole);
    client.write(whole);
    cutOff(podman, document.maxBytes - whole.length);
  }
  podman.on('data', onAnswer);
  podman.pipe(client);
  podman.once('end', carryEnd).once('close', () => client.destroySoon());
  if (podman.readableEnded) carryEnd();
  if (podman.closed) client.destroySoon();
  await Promise.all([closed(podman), closed(client)]);
  return end;
}

/** Ends a connection to a Podman that sends more than so many bytes. */
function cutOff(podman: Socket, maxBytes: number): void {
  let left = maxBytes;
  podman.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) podman.destroy();
  });
}

/** Whether Podman answers anything, ends before, or does neither in time. */
function answerOf(
  podman: Socket,
  withinMs: number | undefined,
  clock: Pick<Clock, 'after'>,
): Promise<'answered' | 'closed' | 'silent'> {
  return new Promise((resolve) => {
    const settle = (answer: 'answered' | 'closed' | 'silent') => {
      podman.off('readable', look).off('end', none).off('close', none);
      stop();
      resolve(answer);
    };
    const look = () => {
      if (podman.readableLength > 0) settle('answered');
      // Only a read finds the end of what is empty.
      else podman.read();
    };
    const none = () => settle('closed');
    const stop = withinMs === undefined ? () => undefined : clock.after(withinMs, () => settle('silent'));
    podman.on('readable', look).on('end', none).on('close', none);
    if (podman.destroyed || podman.readableEnded) none();
  });
}

function closed(socket: Socket): Promise<void> {
  if (socket.closed) return Promise.resolve();
  return new Promise((resolve) => void socket.once('close', () => resolve()));
}
