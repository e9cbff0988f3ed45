import { Readable } from 'node:stream';
import { Agent, request as send } from 'undici';

/** PEM text, not paths: the same names that Nomad's CLI has as NOMAD_CACERT, NOMAD_CLIENT_CERT and so on. */
export interface TlsOptions {
  /** Certificates to trust instead of the system's. */
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** The name that the server's certificate has to carry, where it is not the address's host. */
  readonly serverName?: string | undefined;
  /** Accepts any certificate: whoever answers is taken for Nomad. */
  readonly skipVerify?: boolean | undefined;
}

/** No answer in use is near this size; it keeps whatever listens on Nomad's port from filling our memory. In bytes. */
const MAX_ANSWER = 256 * 2 ** 20;
/** A `Response` with one of these must have no body. */
const BODILESS = [204, 205, 304];

/** Carries requests to one Nomad agent over http, https or a unix socket. */
export class Transport {
  /** What request paths are appended to. */
  readonly baseUrl: string;
  readonly #answers: Agent;
  readonly #streams: Agent;

  /**
   * @param address `http://host:port`, `https://host:port` or `unix:///path`
   * @throws TypeError when the address is none of these
   */
  constructor(address: string, tls: TlsOptions = {}) {
    const socketPath = address.startsWith('unix:///') ? address.slice('unix://'.length) : undefined;
    const url = URL.parse(socketPath === undefined ? address : 'http://localhost');
    if (!url || !['http:', 'https:'].includes(url.protocol)) {
      throw new TypeError(`Nomad's address: expected http://…, https://… or unix:///path, got ${address}`);
    }
    this.baseUrl = url.href.replace(/\/$/, '');

    const { ca, cert, key, serverName, skipVerify = false } = tls;
    const connect = {
      ...(socketPath === undefined ? {} : { socketPath }),
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(serverName === undefined ? {} : { servername: serverName }),
      rejectUnauthorized: !skipVerify,
    };
    // undici's own time-outs would cut blocking queries and quiet streams short: time is up to each call's signal.
    const untimed = { connect, headersTimeout: 0, bodyTimeout: 0 };
    this.#answers = new Agent({ ...untimed, maxResponseSize: MAX_ANSWER });
    this.#streams = new Agent(untimed);
  }

  /**
   * Sends a GET and resolves when the headers are there. Redirects are not followed, so the token goes nowhere else.
   * @param kind `stream` for what goes on without end
   * @throws the signal's reason when it is aborted, here or while the body is read; or undici's error
   */
  async get(request: Request, kind: 'answer' | 'stream', signal: AbortSignal | undefined): Promise<Response> {
    const dispatcher = kind === 'stream' ? this.#streams : this.#answers;
    const headers = Object.fromEntries(request.headers);
    const answer = await send(request.url, { dispatcher, headers, ...(signal ? { signal } : {}) });
    try {
      const { statusCode: status, body } = answer;
      if (BODILESS.includes(status)) {
        hangUp(body);
        return new Response(null, { status });
      }
      const lines = Object.entries(answer.headers).flatMap(([name, value]) =>
        [value ?? []].flat().map((one): [string, string] => [name, one]),
      );
      return new Response(Readable.toWeb(body) as ReadableStream<Uint8Array>, { status, headers: lines });
    } catch (error) {
      hangUp(answer.body);
      throw error;
    }
  }

  /** Breaks every connection off; requests in flight fail. */
  async close(): Promise<void> {
    await Promise.all([this.#answers.destroy(), this.#streams.destroy()]);
  }
}

function hangUp(body: Readable): void {
  // destroy() of a body that was not read to its end raises an error of its own, which nobody else would hear.
  body.on('error', () => undefined).destroy();
}
