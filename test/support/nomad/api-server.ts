import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type EventStream, streamEvents } from './event-stream.ts';
import type { ServerState } from './server-state.ts';

/** The parts of the API that the stand-in serves, named for faults and for the record of requests. */
export type Endpoint = 'agent-self' | 'node' | 'node-allocations' | 'allocation' | 'job' | 'event-stream';

/** What an endpoint does instead of answering: nothing at all, an error in text, or closing the connection. */
export type Fault = 'hang' | 'close' | { readonly status: number; readonly text: string };

/** What a token may: everything the agent asks for, or all of it but read-job. */
export type Rights = 'all' | 'without-read-job';

/** What the API serves, and to whom. */
export interface ApiOptions {
  readonly state: ServerState;
  readonly agent: { readonly stats: { readonly client: { readonly node_id: string } } };
  readonly node: { readonly ID: string };
  /** Tokens that Nomad knows; without this ACLs are off. */
  readonly tokens?: Readonly<Record<string, Rights>>;
  /** Milliseconds between the event stream's heartbeats. */
  readonly heartbeatMs: number;
  /** The port of 127.0.0.1; 0, a free one, unless told. */
  readonly port?: number;
  /** Where it listens instead of on 127.0.0.1: a task API socket. */
  readonly socketPath?: string;
}

/** An answer, or that the response is written elsewhere. */
type Reply = { readonly json: unknown } | { readonly status: number; readonly text: string } | 'streaming';

interface Call {
  readonly endpoint: Endpoint;
  readonly id: string;
  readonly token: string | string[] | undefined;
  readonly query: URLSearchParams;
  readonly response: ServerResponse;
}

const ROUTES: readonly [Endpoint, RegExp][] = [
  ['agent-self', /^\/v1\/agent\/self$/],
  ['node-allocations', /^\/v1\/node\/([^/]+)\/allocations$/],
  ['node', /^\/v1\/node\/([^/]+)$/],
  ['allocation', /^\/v1\/allocation\/([^/]+)$/],
  ['job', /^\/v1\/job\/([^/]+)$/],
  ['event-stream', /^\/v1\/event\/stream$/],
];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const FIVE_MINUTES_MS = 300_000;

/** Nomad's HTTP API as recorded, over real HTTP, with the refusals of acl-refusals.txt and acl-mid-stream.txt. */
export class ApiServer {
  /** Every request that came in: endpoint, path with query, and when (performance.now()), in order. */
  readonly requests: { readonly endpoint: Endpoint | undefined; readonly path: string; readonly at: number }[] = [];
  readonly #options: ApiOptions;
  readonly #faults = new Map<Endpoint, Fault>();
  readonly #streams = new Map<EventStream, string>();
  readonly #tokens: Map<string, Rights | 'expired'> | undefined;
  #server: Server | undefined;
  #port: number;

  constructor(options: ApiOptions) {
    this.#options = options;
    this.#port = options.port ?? 0;
    this.#tokens = options.tokens && new Map(Object.entries(options.tokens));
  }

  /** `http://127.0.0.1:<port>` or `unix://<path>`; stays the same when the server is stopped and started again. */
  get address(): string {
    const { socketPath } = this.#options;
    return socketPath === undefined ? `http://127.0.0.1:${this.#port}` : `unix://${socketPath}`;
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => this.#serve(request, response));
    const { socketPath } = this.#options;
    if (socketPath === undefined) server.listen(this.#port, '127.0.0.1');
    else server.listen(socketPath);
    await once(server, 'listening');
    if (socketPath === undefined) this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Closes the port and every connection, event streams included. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }

  /** Makes an endpoint fail from now on; without a fault it answers again. A connection that hangs is left hanging. */
  setFault(endpoint: Endpoint, fault?: Fault): void {
    if (fault === undefined) this.#faults.delete(endpoint);
    else this.#faults.set(endpoint, fault);
  }

  /**
   * Gives a token other rights, or none any more. The streams that it opened are closed; that of one that expires goes
   * on until there is an event.
   */
  setRights(token: string, rights: Rights | 'expired' | undefined): void {
    if (rights === undefined) this.#tokens?.delete(token);
    else this.#tokens?.set(token, rights);
    for (const [stream, opener] of this.#streams) {
      if (opener !== token || rights === 'all') continue;
      if (rights === 'expired') this.#options.state.once('change', () => stream.mute());
      else stream.close();
    }
  }

  /** Sends these bytes on every open event stream. Resolves when they have left this process. */
  async feed(bytes: Uint8Array): Promise<void> {
    await Promise.all([...this.#streams.keys()].map((stream) => stream.feed(bytes)));
  }

  /** Lets every open event stream fall silent, heartbeats included. */
  muteStreams(): void {
    for (const stream of this.#streams.keys()) stream.mute();
  }

  /** Cuts every open connection, as a restart of Nomad's agent does. */
  cutConnections(): void {
    this.#server?.closeAllConnections();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://nomad');
    const route = ROUTES.find(([, pattern]) => pattern.test(url.pathname));
    this.requests.push({ endpoint: route?.[0], path: `${url.pathname}${url.search}`, at: performance.now() });
    const [endpoint, pattern] = route ?? [];
    const fault = endpoint && this.#faults.get(endpoint);
    if (fault === 'hang') return;
    if (fault === 'close') {
      request.socket.destroy();
      return;
    }
    const id = pattern?.exec(url.pathname)?.[1] ?? '';
    const token = request.headers['x-nomad-token'];
    const call = endpoint && { endpoint, id, token, query: url.searchParams, response };
    send(response, this.#options.state.index, fault ?? (call ? await this.#authorize(call) : INVALID_URL));
  }

  #rightsOf(token: string | string[] | undefined): Rights | 'none' | 'expired' | 'unknown-token' {
    if (!this.#tokens) return 'all';
    if (typeof token !== 'string' || token === '') return 'none';
    return this.#tokens.get(token) ?? 'unknown-token';
  }

  /** What a token lacks is mostly not an error: an empty list, an unknown allocation, a silent stream. */
  async #authorize(call: Call): Promise<Reply> {
    const { endpoint, id, token, response } = call;
    const rights = this.#rightsOf(token);
    if (rights === 'all') return this.#answer(call);
    if (endpoint === 'event-stream') {
      beginStream(response);
      return 'streaming';
    }
    if (rights === 'expired' && endpoint === 'agent-self') return EXPIRED;
    if (rights === 'expired' || rights === 'unknown-token') return FORBIDDEN;
    if (endpoint === 'allocation') return this.#hide(id);
    if (rights === 'none' || endpoint === 'job') return FORBIDDEN;
    return endpoint === 'node-allocations' ? { json: [] } : this.#answer(call);
  }

  /** Of an allocation that is not there Nomad says so to everybody. */
  #hide(id: string): Reply {
    if (!this.#options.state.allocation(id)) return { status: 404, text: 'alloc not found' };
    return { status: 500, text: `Unknown allocation "${id}"` };
  }

  async #answer(call: Call): Promise<Reply> {
    const { state, agent, node, heartbeatMs } = this.#options;
    const { endpoint, id, query, response } = call;
    switch (endpoint) {
      case 'agent-self':
        return { json: agent };
      case 'node':
        return id === node.ID ? { json: node } : { status: 404, text: 'node not found' };
      case 'node-allocations':
        await this.#newer(call);
        return { json: state.allocationsOf(id) };
      case 'allocation': {
        if (!UUID.test(id))
          return { status: 500, text: 'alloc lookup failed: index error: UUID must be 36 characters' };
        const allocation = state.allocation(id);
        return allocation ? { json: allocation } : { status: 404, text: 'alloc not found' };
      }
      case 'job': {
        const job = state.allocationsOf(node.ID).find(({ JobID }) => JobID === decodeURIComponent(id))?.Job;
        return job ? { json: job } : { status: 404, text: 'job not found' };
      }
      case 'event-stream': {
        beginStream(response);
        const stream = streamEvents({ state, query, response, heartbeatMs });
        this.#streams.set(stream, String(call.token));
        response.on('close', () => this.#streams.delete(stream));
        return 'streaming';
      }
    }
  }

  /** A blocking query: waits until the index is above the one asked with, `wait` is over, or nobody listens any more. */
  async #newer({ query, response }: Call): Promise<void> {
    const { state } = this.#options;
    const index = Number(query.get('index') ?? 0);
    if (index === 0 || state.index > index) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, milliseconds(query.get('wait')) ?? FIVE_MINUTES_MS);
    const onChange = () => resolve();
    state.on('change', onChange);
    response.on('close', onChange);
    await promise;
    clearTimeout(timer);
    state.off('change', onChange);
  }
}

const STREAM_HEADERS = { Connection: 'close', 'Cache-Control': 'no-cache', 'Content-Type': 'application/json' };

/** Nomad sends the stream as it is, without chunks. */
function beginStream(response: ServerResponse): void {
  response.removeHeader('Transfer-Encoding');
  response.writeHead(200, STREAM_HEADERS).flushHeaders();
}

const EXPIRED = { status: 500, text: 'ACL token not found or invalid workload identity: ACL token expired' };
const FORBIDDEN = { status: 403, text: 'Permission denied' };
const INVALID_URL = { status: 404, text: 'Invalid URL' };

function send(response: ServerResponse, index: number, reply: Reply): void {
  if (reply === 'streaming' || response.destroyed) return;
  if ('text' in reply) {
    response.writeHead(reply.status, { 'Content-Type': 'text/plain; charset=utf-8', Vary: 'Accept-Encoding' });
    response.end(reply.text);
    return;
  }
  response.writeHead(200, {
    'Content-Type': 'application/json',
    Vary: 'Accept-Encoding',
    'X-Nomad-Index': String(index),
    'X-Nomad-Knownleader': 'true',
    'X-Nomad-Lastcontact': '0',
  });
  response.end(JSON.stringify(reply.json));
}

/** A duration in Go's form, of one unit: `500ms`, `60s`, `5m`. */
function milliseconds(duration: string | null): number | undefined {
  const [, count, unit] = /^(\d+)(ms|s|m)$/.exec(duration ?? '') ?? [];
  if (count === undefined) return undefined;
  return Number(count) * (unit === 'ms' ? 1 : unit === 's' ? 1000 : 60_000);
}
