import { ParseError } from '../errors.ts';
import { BodyEnd } from './body-end.ts';
import { HeadCollector, parseResponseHead, type RequestHead } from './http-head.ts';

/**
 * How far the response has come:
 * - `head`, `body`: more of it is to come
 * - `complete`: it has passed, and the connection can carry another request
 * - `until-close`: the connection ends with it (or it is of a form that we do not know): no other request may follow
 * - `raw`: both sides speak raw bytes from here on (hijacked)
 */
export type ResponseState = 'head' | 'body' | 'complete' | 'until-close' | 'raw';

/**
 * Watches a response pass, and changes nothing of it. Without knowing where it ends we could not tell a response to a
 * hijack from bytes of an earlier one, which a container can choose (its logs).
 */
export class ResponseEnd {
  #state: ResponseState = 'head';
  #collector = new HeadCollector();
  #body: BodyEnd | undefined;
  #close = false;
  readonly #request: RequestHead;
  readonly #mayHijack: boolean;

  /** @param mayHijack whether the request is a POST to an endpoint that hijacks without an Upgrade header */
  constructor(request: RequestHead, mayHijack: boolean) {
    this.#request = request;
    this.#mayHijack = mayHijack;
  }

  get state(): ResponseState {
    return this.#state;
  }

  /** Takes the next bytes of the response. Never throws: what is no HTTP is `until-close`. */
  push(chunk: Buffer): void {
    try {
      let rest = chunk;
      while (rest.length > 0 && this.#state !== 'until-close' && this.#state !== 'raw') rest = this.#take(rest);
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      this.#state = 'until-close';
    }
  }

  #take(bytes: Buffer): Buffer {
    if (this.#state === 'head') return this.#takeHead(bytes);
    if (this.#state === 'body' && this.#body) {
      const rest = bytes.subarray(this.#body.take(bytes, 0));
      if (this.#body.done) this.#complete();
      return rest;
    }
    throw new ParseError('response', 'nothing after its end', `${bytes.length} bytes`);
  }

  #takeHead(bytes: Buffer): Buffer {
    const found = this.#collector.push(bytes);
    if (!found) return bytes.subarray(bytes.length);
    this.#collector = new HeadCollector();
    const { status, framing, close } = parseResponseHead(found.head, this.#request.method);
    const isPost = this.#request.method === 'POST';
    if (status === 101 && (this.#request.upgrade || this.#mayHijack)) {
      this.#state = 'raw';
    } else if (
      status === 200 &&
      framing.kind === 'until-close' &&
      isPost &&
      (this.#mayHijack || this.#request.upgrade)
    ) {
      // A server that answers so reads no further request from this connection, hijacked or not.
      this.#state = 'raw';
    } else if (status === 101 || framing.kind === 'until-close') {
      this.#state = 'until-close';
    } else if (status >= 200) {
      this.#close = close;
      this.#body = new BodyEnd(framing);
      this.#state = 'body';
      if (this.#body.done) this.#complete();
    }
    return found.rest;
  }

  #complete(): void {
    this.#state = this.#close ? 'until-close' : 'complete';
  }
}
