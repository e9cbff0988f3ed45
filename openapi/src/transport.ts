import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';

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

/** A connection that nobody has used for so long is closed, before Nomad or what is between might do so. */
const IDLE_MS = 4000;

type Send = (url: string, options: RequestOptions, callback: (response: IncomingMessage) => void) => ClientRequest;

/** Connections that were made with the same TLS options. */
interface Connections {
  readonly tls: TlsOptions;
  readonly agent: Agent;
  readonly send: Send;
}

/** Carries requests to one Nomad agent over http or https, by TCP or a unix socket. */
export class Transport {
  readonly #baseUrl: string;
  readonly #socketPath: string | undefined;
  readonly #admit: () => void;
  readonly #open = new Set<Agent>();
  #connections: Connections | undefined;

  /**
   * @param address `http://host:port`, `https://host:port`, `unix:///path`, or `https+unix:///path` for TLS over a socket
   * @param admit called before each new connection: what it throws fails the request that waits for it
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
    this.#baseUrl = url.href.replace(/\/$/, '');
    this.#socketPath = path;
  }

  /**
   * Sends a GET and resolves when the head of the answer is there. Redirects are not followed, so the token goes nowhere else.
   * @param target path and query
   * @param tls where it is another than the last time, new connections are made; requests in flight end on the old ones
   * @param signal its reason is thrown when it is aborted, here or while the body is read
   * @throws an error of node:http
   */
  async get(
    target: string,
    headers: Readonly<Record<string, string>>,
    tls: TlsOptions,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const { agent, send } = await this.#connectionsWith(tls);
    signal.throwIfAborted();
    const options = { agent, headers, ...(this.#socketPath === undefined ? {} : { socketPath: this.#socketPath }) };
    return answerTo((onAnswer) => send(this.#baseUrl + target, options, onAnswer), signal);
  }

  /** Breaks every connection off; requests in flight fail. */
  async close(): Promise<void> {
    for (const agent of this.#open) agent.destroy();
  }

  async #connectionsWith(tls: TlsOptions): Promise<Connections> {
    // Loaded where it is needed: it brings the whole of TLS with it.
    const https = this.#baseUrl.startsWith('https:') ? await import('node:https') : undefined;
    if (this.#connections && isSame(this.#connections.tls, tls)) return this.#connections;
    if (this.#connections) retire(this.#connections.agent);
    for (const agent of this.#open) if (Object.keys(agent.sockets).length === 0) this.#open.delete(agent);
    const kept = { keepAlive: true, timeout: IDLE_MS };
    const agent = https ? new https.Agent({ ...kept, ...toNodeOptions(tls) }) : new Agent(kept);
    this.#askBeforeConnecting(agent);
    this.#open.add(agent);
    this.#connections = { tls, agent, send: https?.request ?? request };
    return this.#connections;
  }

  #askBeforeConnecting(agent: Agent): void {
    const connect = agent.createConnection.bind(agent);
    agent.createConnection = (options, callback) => {
      this.#admit();
      return connect(options, callback);
    };
  }
}

function toNodeOptions({ ca, cert, key, serverName, skipVerify = false }: TlsOptions) {
  const given = Object.entries({ ca, cert, key, servername: serverName }).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(given), rejectUnauthorized: !skipVerify };
}

/** Sends a request and waits for the head of its answer. The signal breaks both off, as long as the body is not at its end. */
function answerTo(
  send: (onAnswer: (answer: IncomingMessage) => void) => ClientRequest,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    let answer: IncomingMessage | undefined;
    const sent = send((message) => {
      // Whoever reads the body is told; an error that nobody listens to would end the process.
      answer = message.on('error', () => undefined);
      resolve(message);
    });
    const abort = () => (answer ?? sent).destroy(signal.reason);
    signal.addEventListener('abort', abort);
    sent.on('close', () => signal.removeEventListener('abort', abort));
    sent.on('error', reject).end();
  });
}

/** Ends what idles, and what is in flight when it is through. */
function retire(agent: Agent): void {
  agent.maxFreeSockets = 0;
  for (const socket of Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? [])) socket.destroy();
}

function isSame(a: TlsOptions, b: TlsOptions): boolean {
  const keys = ['ca', 'cert', 'key', 'serverName', 'skipVerify'] as const;
  return keys.every((key) => a[key] === b[key]);
}
