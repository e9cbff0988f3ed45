import { lookup } from 'node:dns/promises';
import type { Socket } from 'node:net';
import { type Clock, signalAfter } from '../clock.ts';
import type { ListenAddress } from '../config/config.ts';
import { messageOf, RootlessError } from '../errors.ts';
import type { Answer } from '../gate/answer.ts';
import { lookUpGroup } from '../linux/group.ts';
import { listenOnTcp } from '../linux/listen-on-tcp.ts';
import { claimSocketPath, type SocketClaim } from '../linux/socket-path.ts';
import { listenAt, removeSocketFile } from '../linux/unix-listener.ts';
import type { Log } from '../log.ts';
import type { AgentStatus } from '../model/status.ts';
import { WarnedOnce } from '../warned-once.ts';
import { FewConnections } from './few-connections.ts';
import { answerOneRequest, type PageRequest } from './one-request.ts';
import { isMeantForUs } from './requested-host.ts';
import { SharedRendering } from './shared-rendering.ts';
import { statusPage } from './status-page.ts';
import { ToldTexts } from './told-texts.ts';

/**
 * Some 160 requests a second, of some 0.2 ms each, from all together: any local user can ask, and a container in the host's
 * network. Prometheus asks once in some seconds, and gives up after ten by default.
 */
const LIMITS = { most: 16, leastMs: 100, mostMs: 5000, backlog: 128 };
/** Who has connected has something to ask. */
const HEAD_MS = 1000;
/** How old what is said may be, ms. */
const METRICS_AGE_MS = 1000;
const PAGE_AGE_MS = 1000;
const HEALTH_AGE_MS = 100;
/** Prometheus asks for it where it is to keep exemplars. */
const OPEN_METRICS = 'application/openmetrics-text';
const GROUP_LOOKUP_MS = 5000;
const MISDIRECTED = 'the page is asked for by address, by localhost or by the host of metrics.address alone\n';

/** What the metrics server says of the agent: whether it is ready, why not, and what it warns of. */
export type AgentHealth = Pick<AgentStatus, 'ready' | 'reasons' | 'warnings' | 'users'>;

/** All metrics as a text. */
interface Rendered {
  readonly contentType: string;
  metrics(): Promise<string>;
}

/** What the metrics server needs. */
export interface MetricsServerParts {
  readonly address: ListenAddress;
  /** The name or gid of who may connect beside root, where the address is a unix socket. */
  readonly group?: string | undefined;
  readonly registry: Rendered;
  /** The same with exemplars, which name allocations. */
  readonly openMetrics: Rendered;
  readonly health: () => AgentHealth;
  readonly status: () => AgentStatus;
  /** Whether whoever can connect may be told of jobs and allocations by name. */
  readonly names: boolean;
  /** What must be in no text that is said here. */
  readonly secrets: () => readonly string[];
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * HTTP for Prometheus, health checks and browsers: /metrics, /livez, /readyz, and / for people. Whoever can connect is
 * answered, which on TCP is every local user: nothing names a job or an allocation unless the operator says so.
 */
export class MetricsServer {
  readonly #parts: MetricsServerParts;
  readonly #metrics: SharedRendering<Answer>;
  readonly #openMetrics: SharedRendering<Answer>;
  readonly #health: SharedRendering<Answer>;
  readonly #statusPage: SharedRendering<Answer>;
  #connections: FewConnections | undefined;
  #claim: SocketClaim | undefined;
  readonly #warned: WarnedOnce;

  constructor(parts: MetricsServerParts) {
    const { registry, openMetrics, names, clock } = parts;
    this.#parts = parts;
    this.#warned = new WarnedOnce(clock);
    this.#metrics = new SharedRendering(() => metricsPage(registry), METRICS_AGE_MS, clock);
    this.#openMetrics = names
      ? new SharedRendering(() => metricsPage(openMetrics), METRICS_AGE_MS, clock)
      : this.#metrics;
    const texts = new ToldTexts(parts.secrets);
    const telling = () => {
      texts.refresh();
      return (text: string) => texts.tell(text);
    };
    const renderStatus = async () => statusPage(parts.status(), { names, now: clock.now(), tell: telling() });
    this.#statusPage = new SharedRendering(renderStatus, PAGE_AGE_MS, clock);
    this.#health = new SharedRendering(async () => healthPage(parts.health(), telling()), HEALTH_AGE_MS, clock);
  }

  /** @returns the port it listens on, chosen by the kernel where the address says 0; undefined for a unix socket. @throws RootlessError `metrics_address` */
  async listen(): Promise<number | undefined> {
    const { address, clock } = this.#parts;
    try {
      const fd = 'socket' in address ? await this.#listenAt(address.socket) : await listenOn(address);
      this.#connections = new FewConnections(fd, LIMITS, clock, (socket) => this.#take(socket));
      return await this.#connections.listen();
    } catch (cause) {
      this.close();
      const where = 'socket' in address ? address.socket : `${address.host}:${address.port}`;
      const message = `cannot serve metrics on ${where}; set metrics.address to another one or to "off"`;
      throw new RootlessError(message, { code: 'metrics_address', retryable: false, cause });
    }
  }

  /** Ends open connections. */
  close(): void {
    const { address } = this.#parts;
    this.#connections?.close();
    this.#connections = undefined;
    if (this.#claim && 'socket' in address) removeSocketFile(address.socket);
    this.#claim?.[Symbol.dispose]();
    this.#claim = undefined;
  }

  async #listenAt(path: string): Promise<number> {
    const { group = '0' } = this.#parts;
    const gid = await lookUpGroup(group, signalAfter(GROUP_LOOKUP_MS));
    this.#claim = claimSocketPath(path);
    return listenAt(path, { uid: process.geteuid?.() ?? 0, gid, mode: 0o660 });
  }

  #take(socket: Socket): void {
    const stop = this.#parts.clock.after(HEAD_MS, () => socket.destroy());
    answerOneRequest(socket, (request) => {
      stop();
      return this.#answer(request);
    });
  }

  async #answer(request: PageRequest): Promise<Answer> {
    try {
      return await this.#page(request);
    } catch (error) {
      const reason = messageOf(error);
      // Whoever can connect can ask again and again.
      this.#parts.log[this.#warned.levelOf('request', reason)]({ reason }, 'cannot answer a metrics request');
      return { status: 500, body: 'see the log\n' };
    }
  }

  async #page({ method, path, accept, host }: PageRequest): Promise<Answer> {
    if (method !== 'GET' && method !== 'HEAD') return { status: 405, body: 'expected GET\n' };
    switch (path) {
      case '/':
        if (!isMeantForUs(host, this.#parts.address)) return { status: 421, body: MISDIRECTED };
        return await this.#statusPage.get();
      case '/metrics':
        return await (accept.includes(OPEN_METRICS) ? this.#openMetrics : this.#metrics).get();
      case '/livez':
        return { status: 200, body: 'ok\n' };
      case '/readyz':
        return await this.#health.get();
      default:
        return { status: 404, body: 'expected /, /metrics, /livez or /readyz\n' };
    }
  }
}

async function metricsPage(rendered: Rendered): Promise<Answer> {
  return { status: 200, headers: { 'content-type': rendered.contentType }, body: await rendered.metrics() };
}

function healthPage({ ready, reasons, warnings, users }: AgentHealth, tell: (text: string) => string): Answer {
  const down = users.filter(({ podman }) => podman === 'down');
  const notes = [...warnings, ...down.map(({ name, problem }) => `user ${name}: ${problem}`)].map(tell);
  const lines = [...(ready ? ['ok'] : reasons.map(tell)), ...notes.map((note) => `warning: ${note}`)];
  return { status: ready ? 200 : 503, body: `${lines.join('\n')}\n` };
}

async function listenOn({ host, port }: { readonly host: string; readonly port: number }): Promise<number> {
  const { address } = await lookup(host);
  return listenOnTcp(address, port, LIMITS.backlog);
}
