import type { Socket } from 'node:net';
import { BodyEnd } from './body-end.ts';
import type { RequestHead } from './http-head.ts';
import { ResponseEnd } from './response-end.ts';
import { ConnectionLost, type SocketReader, send } from './socket-reader.ts';

/** A request on its way: its head, read and as it came, and its body where the gate has read that already. */
export interface Request {
  readonly head: RequestHead;
  readonly bytes: Buffer;
  readonly body: readonly Buffer[] | undefined;
}

/** One request and its response, between a client and the user's Podman. */
export class Exchange {
  readonly #client: SocketReader;
  readonly #podman: SocketReader;
  readonly #request: Request;
  readonly #response: ResponseEnd;
  #hasAnswer = false;
  #sendFailure: unknown;

  constructor(client: SocketReader, podman: SocketReader, request: Request, mayHijack: boolean) {
    this.#client = client;
    this.#podman = podman;
    this.#request = request;
    this.#response = new ResponseEnd(request.head, mayHijack);
  }

  /** Whether Podman has begun to answer: from then on an answer of ours would be read as part of Podman's. */
  get hasAnswer(): boolean {
    return this.#hasAnswer;
  }

  /**
   * Passes the request to Podman and the response back, and raw bytes both ways where the response hijacks the connection.
   * @param onAnswer called when Podman begins to answer
   * @returns whether both connections can carry another request
   * @throws ParseError where the request's body breaks its framing
   * @throws ConnectionLost where either side broke off, or Podman ended without an answer
   */
  async run(onAnswer: () => void): Promise<boolean> {
    let stopWatching: (() => void) | undefined;
    const sending = this.#sendRequest().then(
      () => {
        stopWatching = this.#client.whenLeft(() => this.#carryLeaving());
      },
      (error: unknown) => {
        this.#sendFailure = error;
        // Podman must not take a request that was cut short for a whole one.
        this.#podman.socket.destroy();
      },
    );
    try {
      await this.#passResponse(onAnswer);
    } catch (error) {
      throw this.#sendFailure ?? error;
    } finally {
      stopWatching?.();
    }
    await sending;
    if (this.#sendFailure) throw this.#sendFailure;
    if (this.#response.state === 'raw') {
      await Promise.all([pump(this.#client, this.#podman.socket), pump(this.#podman, this.#client.socket)]);
    }
    return this.#response.state === 'complete';
  }

  async #sendRequest(): Promise<void> {
    const { bytes, body, head } = this.#request;
    const { socket } = this.#podman;
    if (body) {
      socket.cork();
      for (const chunk of [bytes, ...body]) socket.write(chunk);
      socket.uncork();
      return;
    }
    await send(socket, bytes);
    const end = new BodyEnd(head.framing);
    while (!end.done) {
      const chunk = await this.#client.next();
      if (!chunk) return;
      const to = end.take(chunk, 0);
      this.#client.putBack(chunk.subarray(to));
      await send(socket, chunk.subarray(0, to));
    }
  }

  async #passResponse(onAnswer: () => void): Promise<void> {
    while (this.#response.state !== 'complete' && this.#response.state !== 'raw') {
      const chunk = await this.#podman.next();
      if (!chunk) {
        if (this.#hasAnswer) return;
        throw new ConnectionLost();
      }
      if (!this.#hasAnswer) onAnswer();
      this.#hasAnswer = true;
      this.#response.push(chunk);
      await send(this.#client.socket, chunk);
    }
  }

  /** The client said that it sends nothing more, or is gone: Podman hears the same. */
  #carryLeaving(): void {
    if (this.#client.isLost) this.#podman.socket.destroy();
    else if (!this.#client.hasMore) this.#podman.socket.end();
  }
}

/** Passes raw bytes one way until their end, and then the end. */
async function pump(from: SocketReader, to: Socket): Promise<void> {
  for (let chunk = await from.next(); chunk; chunk = await from.next()) await send(to, chunk);
  to.end();
}
