import createClient, { type Client } from 'openapi-fetch';
import { NomadError, NomadUnreachableError } from './nomad-error.ts';
import type { components, paths } from './schema.ts';
import { type TlsOptions, Transport } from './transport.ts';

export { NomadError, NomadUnreachableError } from './nomad-error.ts';
export type { TlsOptions } from './transport.ts';

/** The schemas of openapi/nomad.yaml by name. They are what Nomad promises; nothing here checks an answer against them. */
export type Schemas = components['schemas'];

/** How to reach an agent, and who we are to it. */
export interface NomadClientOptions {
  /** `http://host:port`, `https://host:port`, `unix:///path` or `https+unix:///path`. */
  readonly address: string;
  /** Called for each request, so that a token file that was renewed is read again. White space around it is cut off. */
  readonly token?: (() => string | undefined | Promise<string | undefined>) | undefined;
  /** Called for each request: new connections are made with what it gives. */
  readonly tls?: (() => TlsOptions) | undefined;
  /** Called before each new connection; what it throws is the cause why there is no answer, and nothing is sent. */
  readonly admit?: (() => void) | undefined;
  /** For a whole request, in milliseconds; blocking queries get their wait on top, streams have none. */
  readonly timeoutMs?: number | undefined;
}

/** What every request takes. */
export interface RequestOptions {
  /** Its reason is what an aborted request throws. */
  readonly signal?: AbortSignal | undefined;
}

/** A blocking query: answered when the data is newer than `index`, or after `waitMs` (Nomad's default: 5 minutes). */
export interface BlockingOptions extends RequestOptions {
  readonly index?: number | undefined;
  readonly waitMs?: number | undefined;
}

/** Which events to stream, and from where. */
export interface EventStreamOptions extends RequestOptions {
  /** `Topic` or `Topic:key`. */
  readonly topics: readonly string[];
  /** `*` for all. */
  readonly namespace: string;
  /** 0 or none replays the server's buffer. */
  readonly index?: number | undefined;
}

/** An answer, with the X-Nomad-Index that a blocking query goes on from. */
export interface Answer<T> {
  readonly data: T;
  /** undefined where Nomad sends none. */
  readonly index: number | undefined;
}

const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_WAIT_MS = 300_000;

interface Fetched {
  readonly data?: unknown;
  readonly error?: unknown;
  readonly response: Response;
}

interface Ask {
  readonly kind: 'answer' | 'stream';
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal | undefined;
}

type Data<F extends Fetched> = NonNullable<F['data']>;

/**
 * A client of one Nomad agent. Every method throws NomadError for an answer that is no success, NomadUnreachableError
 * where there is no whole answer, the signal's reason when it is aborted, and whatever the token and TLS functions throw.
 * Nothing is asked with `stale`: what a follower does not know yet would look as if it were not there.
 */
export class NomadClient {
  readonly #transport: Transport;
  readonly #api: Client<paths>;
  readonly #token: NomadClientOptions['token'];
  readonly #tls: NomadClientOptions['tls'];
  readonly #timeoutMs: number;

  /** @throws TypeError when the address is not of a known form */
  constructor(options: NomadClientOptions) {
    this.#transport = new Transport(options.address, options.admit ?? (() => undefined));
    this.#api = createClient<paths>({ baseUrl: this.#transport.baseUrl });
    this.#token = options.token;
    this.#tls = options.tls;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  /** The agent's configuration and statistics. */
  agentSelf({ signal }: RequestOptions = {}): Promise<Answer<Schemas['AgentSelf']>> {
    return this.#ask(this.#plain(signal), (fetch) => this.#api.GET('/v1/agent/self', { fetch }));
  }

  /** One client node, by its whole id. */
  node(id: string, { signal }: RequestOptions = {}): Promise<Answer<Schemas['Node']>> {
    const params = { path: { id } };
    return this.#ask(this.#plain(signal), (fetch) => this.#api.GET('/v1/node/{id}', { params, fetch }));
  }

  /** The allocations of a node, by its whole id; a blocking query where an index is given. */
  nodeAllocations(id: string, options: BlockingOptions = {}): Promise<Answer<Schemas['Allocation'][]>> {
    const { query, timeoutMs } = this.#blocking(options);
    const params = { path: { id }, query };
    return this.#ask({ ...this.#plain(options.signal), timeoutMs }, (fetch) =>
      this.#api.GET('/v1/node/{id}/allocations', { params, fetch }),
    );
  }

  /** One allocation, by its whole id. */
  allocation(id: string, { signal }: RequestOptions = {}): Promise<Answer<Schemas['Allocation']>> {
    const params = { path: { id } };
    return this.#ask(this.#plain(signal), (fetch) => this.#api.GET('/v1/allocation/{id}', { params, fetch }));
  }

  /** One job of a namespace. */
  job(id: string, namespace: string, { signal }: RequestOptions = {}): Promise<Answer<Schemas['Job']>> {
    const params = { path: { id }, query: { namespace } };
    return this.#ask(this.#plain(signal), (fetch) => this.#api.GET('/v1/job/{id}', { params, fetch }));
  }

  /** The bytes of the event stream: one `EventBatch` a line. Ends when Nomad hangs up; cancelling it hangs up here. */
  async eventStream(options: EventStreamOptions): Promise<ReadableStream<Uint8Array>> {
    const { topics, namespace, index, signal } = options;
    const query = { topic: [...topics], namespace, ...(index === undefined ? {} : { index }) };
    const { data } = await this.#ask({ kind: 'stream', timeoutMs: undefined, signal }, (fetch) =>
      this.#api.GET('/v1/event/stream', { params: { query }, parseAs: 'stream', fetch }),
    );
    return data;
  }

  /** Breaks every connection off. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  #plain(signal: AbortSignal | undefined): Ask {
    return { kind: 'answer', timeoutMs: this.#timeoutMs, signal };
  }

  #blocking({ index, waitMs }: BlockingOptions) {
    if (index === undefined) return { query: {}, timeoutMs: this.#timeoutMs };
    // Nomad adds a random sixteenth at most, so that waiting clients do not all come back at once.
    const timeoutMs = Math.ceil(((waitMs ?? DEFAULT_WAIT_MS) * 17) / 16) + this.#timeoutMs;
    return { query: waitMs === undefined ? { index } : { index, wait: `${waitMs}ms` }, timeoutMs };
  }

  async #ask<F extends Fetched>(
    { kind, timeoutMs, signal }: Ask,
    call: (fetch: (request: Request) => Promise<Response>) => Promise<F>,
  ): Promise<Answer<Data<F>>> {
    const token = (await this.#token?.())?.trim();
    const tls = this.#tls?.() ?? {};
    const timeout = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
    const signals = [signal, timeout].filter((one) => one !== undefined);
    let path = '';
    let fetched: F;
    try {
      fetched = await call((request) => {
        path = new URL(request.url).pathname;
        if (token) authorize(request, token);
        return this.#transport.get(request, kind, tls, signals.length === 0 ? undefined : AbortSignal.any(signals));
      });
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      const reason = timeout?.aborted ? `no whole answer within ${timeoutMs} ms` : reasonOf(error);
      throw new NomadUnreachableError(path, reason, error);
    }
    const { data, error, response } = fetched;
    if (!response.ok) throw new NomadError(path, response.status, typeof error === 'string' ? error : toText(error));
    if (data === undefined || data === null) {
      throw new NomadUnreachableError(path, `expected JSON, got an empty ${response.status}`);
    }
    return { data: data as Data<F>, index: indexOf(response) };
  }
}

function authorize(request: Request, token: string): void {
  // The error of Headers.set would carry the token into logs.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new TypeError('the token has characters that no HTTP header can carry');
  request.headers.set('X-Nomad-Token', token);
}

function reasonOf(error: unknown): string {
  return error instanceof SyntaxError ? 'expected JSON, got something else' : 'no answer';
}

function toText(error: unknown): string {
  return error === undefined ? '' : JSON.stringify(error);
}

function indexOf(response: Response): number | undefined {
  const text = response.headers.get('X-Nomad-Index') ?? '';
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
