import { Readable } from 'node:stream';
import { Agent, buildConnector, request as send } from 'undici';

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

/** Connections that were made with the same TLS options. */
interface Connections {
  readonly tls: TlsOptions;
  readonly answers: Agent;
  readonly streams: Agent;
}

/** Carries requests to one Nomad agent over http or https, by TCP or a unix socket. */
export class Transport {
  /** What request paths are appended to. */
  readonly baseUrl: string;
  readonly #socketPath: string | undefined;
  readonly #admit: () => void;
  readonly #open = new Set<Agent>();
  #connections: Connections | undefined;

  /**
   * @param address `http://host:port`, `https://host:port`, `unix:///path`, or `https+unix:///path` for TLS over a socket
   * @param admit called before each new connection: what it throws fails the requests that wait for one
   * @throws TypeError when the address is none of these
   */
  constructor(address: string, admit: () => void) {
    this.#admit = admit;
    const [, scheme, path] = /^(unix|https\+unix):\/\/(\/.*)$/s.exec(address) ?? [];
    const url = URL.parse(scheme === undefined ? address : `${scheme === 'unix' ? 'http' : 'https'}://localhost`);
    if (!url || !['http:', 'https:'].includes(url.protocol)) {
      const expected = 'http://…, https://…, unix:///path or https+unix:///path';
      throw new TypeError(`Nomad's address: expected ${expected}, got ${address}`);
    }
    this.baseUrl = url.href.replace(/\/$/, '');
    this.#socketPath = path;
  }

  /**
   * Sends a GET and resolves when the headers are there. Redirects are not followed, so the token goes nowhere else.
   * @param kind `stream` for what goes on without end
   * @param tls where it is another than the last time, new connections are made; requests in flight end on the old ones
   * @throws the signal's reason when it is aborted, here or while the body is read; or undici's error
   */
  async get(
    request: Request,
    kind: 'answer' | 'stream',
    tls: TlsOptions,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    const { answers, streams } = this.#connectionsWith(tls);
    const dispatcher = kind === 'stream' ? streams : answers;
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
    await Promise.all([...this.#open].map((agent) => agent.destroy()));
  }

  #connectionsWith(tls: TlsOptions): Connections {
    if (this.#connections && isSame(this.#connections.tls, tls)) return this.#connections;
    if (this.#connections) this.#retire(this.#connections);
    const { ca, cert, key, serverName, skipVerify = false } = tls;
    const connect = buildConnector({
      ...(this.#socketPath === undefined ? {} : { socketPath: this.#socketPath }),
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(serverName === undefined ? {} : { servername: serverName }),
      rejectUnauthorized: !skipVerify,
    });
    const admitted: typeof connect = (options, callback) => {
      try {
        this.#admit();
      } catch (error) {
        callback(error instanceof Error ? error : new Error(String(error)), null);
        return;
      }
      connect(options, callback);
    };
    // undici's own time-outs would cut blocking queries and quiet streams short: time is up to each call's signal.
    const untimed = { connect: admitted, headersTimeout: 0, bodyTimeout: 0 };
    const answers = new Agent({ ...untimed, maxResponseSize: MAX_ANSWER });
    const streams = new Agent(untimed);
    this.#open.add(answers).add(streams);
    this.#connections = { tls, answers, streams };
    return this.#connections;
  }

  #retire({ answers, streams }: Connections): void {
    for (const agent of [answers, streams]) void agent.close().finally(() => this.#open.delete(agent));
  }
}

function isSame(a: TlsOptions, b: TlsOptions): boolean {
  const keys = ['ca', 'cert', 'key', 'serverName', 'skipVerify'] as const;
  return keys.every((key) => a[key] === b[key]);
}

function hangUp(body: Readable): void {
  // destroy() of a body that was not read to its end raises an error of its own, which nobody else would hear.
  body.on('error', () => undefined).destroy();
}
