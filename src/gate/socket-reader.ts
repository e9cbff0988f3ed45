import type { Socket } from 'node:net';
import { NotYetError } from '../errors.ts';

/** Where reading stops until somebody takes what is there: back-pressure. In bytes. */
const HIGH_WATER = 64 * 1024;

/** The connection broke before its end: reset by the other side, or cut by us. */
export class ConnectionLost extends NotYetError {
  constructor(cause?: unknown) {
    super('connection_lost', 'the connection was lost', cause);
  }
}

/**
 * Reads a socket chunk by chunk, without copying. It reads ahead a little even while nobody asks, so that the other
 * side's leaving is noticed while a request is held.
 */
export class SocketReader {
  readonly socket: Socket;
  #queue: Buffer[] = [];
  #waiting = 0;
  #state: 'open' | 'ended' | 'lost' = 'open';
  #cause: unknown;
  #discards = false;
  #wake: (() => void) | undefined;
  #onLeft = new Set<() => void>();

  /** @param socket with allowHalfOpen; from here on nobody else may read it */
  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.#arrived(chunk));
    socket.on('end', () => this.#left('ended'));
    socket.on('error', (error) => {
      this.#cause = error;
    });
    socket.on('close', () => this.#left('lost'));
  }

  /** The next chunk; undefined when the other side has said that nothing more comes. @throws ConnectionLost */
  async next(): Promise<Buffer | undefined> {
    while (this.#queue.length === 0 && this.#state === 'open') {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const chunk = this.#queue.shift();
    if (chunk === undefined) {
      if (this.#state === 'lost') throw new ConnectionLost(this.#cause);
      return undefined;
    }
    this.#waiting -= chunk.length;
    if (this.#waiting < HIGH_WATER && this.socket.isPaused()) this.socket.resume();
    return chunk;
  }

  /** Puts back what was read too far. */
  putBack(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#queue.unshift(chunk);
    this.#waiting += chunk.length;
  }

  /** Whether the connection stands and nothing of it waits to be read. */
  get isQuiet(): boolean {
    return this.#state === 'open' && this.#queue.length === 0;
  }

  /** Whether bytes wait to be read. */
  get hasMore(): boolean {
    return this.#queue.length > 0;
  }

  /** Whether the other side has left: said that nothing more comes, or broken the connection. */
  get hasLeft(): boolean {
    return this.#state !== 'open';
  }

  /** Whether the connection is broken in both directions. */
  get isLost(): boolean {
    return this.#state === 'lost';
  }

  /** Calls `action` once when the other side leaves, at once if it has; the returned function takes that back. */
  whenLeft(action: () => void): () => void {
    if (this.hasLeft) action();
    else this.#onLeft.add(action);
    return () => this.#onLeft.delete(action);
  }

  /** Drops all that has come and all that will. */
  discard(): void {
    this.#discards = true;
    this.#queue = [];
    this.#waiting = 0;
    this.socket.resume();
  }

  #arrived(chunk: Buffer): void {
    if (this.#discards) return;
    this.#queue.push(chunk);
    this.#waiting += chunk.length;
    if (this.#waiting >= HIGH_WATER) this.socket.pause();
    this.#wake?.();
  }

  #left(how: 'ended' | 'lost'): void {
    // A connection that we close after its end has not been lost.
    const first = this.#state === 'open';
    if (first || this.#cause !== undefined) this.#state = how;
    this.#wake?.();
    if (!first) return;
    for (const action of this.#onLeft) action();
    this.#onLeft.clear();
  }
}

/** Writes a chunk, and waits where the other side does not keep up. @throws ConnectionLost */
export async function send(socket: Socket, chunk: Buffer): Promise<void> {
  if (socket.destroyed) throw new ConnectionLost();
  if (socket.write(chunk)) return;
  await new Promise<void>((resolve, reject) => {
    const settle = () => {
      socket.off('drain', settle);
      socket.off('close', settle);
      if (socket.destroyed) reject(new ConnectionLost());
      else resolve();
    };
    socket.on('drain', settle);
    socket.on('close', settle);
  });
}
