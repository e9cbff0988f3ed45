import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
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
  /** For a whole request, in milliseconds; streams have none. */
  readonly timeoutMs?: number | undefined;
}

/** What every request takes. */
export interface RequestOptions {
  /** Its reason is what an aborted request throws. */
  readonly signal?: AbortSignal | undefined;
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

/** An answer, with its X-Nomad-Index. */
export interface Answer<T> {
  readonly data: T;
  /** undefined where Nomad sends none. */
  readonly index: number | undefined;
}

const DEFAULT_TIMEOUT_MS = 10_000;

/** No answer in use is near this size; it keeps whatever listens on Nomad's port from filling our memory. In bytes. */
const MAX_ANSWER = 256 * 2 ** 20;

type Operation<P extends keyof paths> = paths[P]['get'];
type Parameters<P extends keyof paths> = Pick<Operation<P>['parameters'], 'path' | 'query'>;
type Body<P extends keyof paths> = Operation<P>['responses'][200]['content']['application/json'];

interface Limits {
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/**
 * A client of one Nomad agent. Every method throws NomadError for an answer that is no success, NomadUnreachableError
 * where there is no whole answer, the signal's reason when it is aborted, and whatever the token and TLS functions throw.
 * Nothing is asked with `stale`: what a follower does not know yet would look as if it were not there.
 */
export class NomadClient {
  readonly #transport: Transport;
  readonly #token: NomadClientOptions['token'];
  readonly #tls: NomadClientOptions['tls'];
  readonly #timeoutMs: number;

  /** @throws TypeError when the address is not of a known form */
  constructor(options: NomadClientOptions) {
    this.#transport = new Transport(options.address, options.admit ?? (() => undefined));
    this.#token = options.token;
    this.#tls = options.tls;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  /** The agent's configuration and statistics. */
  agentSelf({ signal }: RequestOptions = {}): Promise<Answer<Schemas['AgentSelf']>> {
    return this.#get('/v1/agent/self', {}, this.#plain(signal));
  }

  /** One client node, by its whole id. */
  node(id: string, { signal }: RequestOptions = {}): Promise<Answer<Schemas['Node']>> {
    return this.#get('/v1/node/{id}', { path: { id } }, this.#plain(signal));
  }

  /** The allocations of a node, by its whole id. */
  nodeAllocations(id: string, { signal }: RequestOptions = {}): Promise<Answer<Schemas['Allocation'][]>> {
    return this.#get('/v1/node/{id}/allocations', { path: { id } }, this.#plain(signal));
  }

  /** One allocation, by its whole id. */
  allocation(id: string, { signal }: RequestOptions = {}): Promise<Answer<Schemas['Allocation']>> {
    return this.#get('/v1/allocation/{id}', { path: { id } }, this.#plain(signal));
  }

  /** The bytes of the event stream: one `EventBatch` a line. Ends when Nomad hangs up; destroying it hangs up here. */
  eventStream(options: EventStreamOptions): Promise<Readable> {
    const { topics, namespace, index, signal } = options;
    const query = { topic: [...topics], namespace, ...(index === undefined ? {} : { index }) };
    const target = targetOf('/v1/event/stream', { query });
    return this.#ask(target, { timeoutMs: undefined, signal }, async (answer) => answer);
  }

  /** Breaks every connection off. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  #plain(signal: AbortSignal | undefined): Limits {
    return { timeoutMs: this.#timeoutMs, signal };
  }

  #get<P extends keyof paths>(template: P, parameters: Parameters<P>, limits: Limits): Promise<Answer<Body<P>>> {
    const target = targetOf(template, parameters);
    return this.#ask(target, limits, async (answer) => {
      const text = await textOf(answer);
      const data: Body<P> | null = text === '' ? null : JSON.parse(text);
      if (data === null) {
        throw new NomadUnreachableError(target.pathname, `expected JSON, got an empty ${answer.statusCode}`);
      }
      return { data, index: indexOf(answer) };
    });
  }

  async #ask<T>(
    { pathname, search }: Target,
    { timeoutMs, signal }: Limits,
    read: (answer: IncomingMessage) => Promise<T>,
  ): Promise<T> {
    const token = (await this.#token?.())?.trim();
    const tls = this.#tls?.() ?? {};
    const timeout = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
    const signals = [signal, timeout].filter((one) => one !== undefined);
    try {
      const headers = token ? { 'X-Nomad-Token': printable(token) } : {};
      const answer = await this.#transport.get(pathname + search, headers, tls, AbortSignal.any(signals));
      const { statusCode = 0 } = answer;
      if (statusCode < 200 || statusCode > 299) throw new NomadError(pathname, statusCode, await textOf(answer));
      return await read(answer);
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (error instanceof NomadError || error instanceof NomadUnreachableError) throw error;
      const reason = timeout?.aborted ? `no whole answer within ${timeoutMs} ms` : reasonOf(error);
      throw new NomadUnreachableError(pathname, reason, error);
    }
  }
}

type Target = Pick<URL, 'pathname' | 'search'>;

/** What a path of nomad.yaml is with its parameters. */
function targetOf<P extends keyof paths>(template: P, { path, query }: Parameters<P>): Target {
  const values = new Map<string, string>(Object.entries(path ?? {}));
  const pathname = template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(values.get(name) ?? ''));
  const pairs = Object.entries<string | number | readonly string[]>(query ?? {}).flatMap(([name, value]) =>
    [value].flat().map((one) => `${name}=${encodeURIComponent(one)}`),
  );
  return { pathname, search: pairs.length === 0 ? '' : `?${pairs.join('&')}` };
}

/** The error of node:http would carry the token into logs. */
function printable(token: string): string {
  if (!/^[\x21-\x7e]+$/.test(token)) throw new TypeError('the token has characters that no HTTP header can carry');
  return token;
}

async function textOf(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer) {
    size += chunk.length;
    if (size > MAX_ANSWER) throw new RangeError(`an answer of more than ${MAX_ANSWER} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function reasonOf(error: unknown): string {
  return error instanceof SyntaxError ? 'expected JSON, got something else' : 'no answer';
}

function indexOf({ headers }: IncomingMessage): number | undefined {
  const text = String(headers['x-nomad-index'] ?? '');
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
