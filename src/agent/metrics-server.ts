import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import { messageOf, RootlessError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { AgentStatus } from '../model/status.ts';

/** What the metrics server needs. Of the status it only says whether the agent is ready, why not, and what it warns of. */
export interface MetricsServerParts {
  readonly address: { readonly host: string; readonly port: number };
  readonly registry: Registry;
  readonly status: () => Pick<AgentStatus, 'ready' | 'reasons' | 'warnings' | 'users'>;
  readonly log: Log;
}

interface Answer {
  readonly status: number;
  readonly type?: string;
  readonly text: string;
}

/** HTTP for Prometheus and health checks: /metrics, /livez, /readyz. Says nothing that names a job or an allocation. */
export class MetricsServer {
  readonly #parts: MetricsServerParts;
  readonly #server: Server;

  constructor(parts: MetricsServerParts) {
    this.#parts = parts;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  /** @returns the port it listens on, chosen by the kernel where the address says 0. @throws RootlessError `metrics_address` */
  listen(): Promise<number> {
    const { host, port } = this.#parts.address;
    return new Promise((resolve, reject) => {
      this.#server.removeAllListeners('error').once('error', (cause) => {
        const message = `cannot serve metrics on ${host}:${port}; set metrics.address to another one or to "off"`;
        reject(new RootlessError(message, { code: 'metrics_address', retryable: false, cause }));
      });
      this.#server.listen(port, host, () => {
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  /** Ends open connections. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { status, type, text } = await this.#page(request).catch((error: unknown) => {
      this.#parts.log.error({ error: messageOf(error) }, 'cannot answer a metrics request');
      return { status: 500, type: 'text/plain', text: 'see the log\n' };
    });
    response.writeHead(status, { 'content-type': type ?? 'text/plain' }).end(text);
  }

  async #page({ method, url }: IncomingMessage): Promise<Answer> {
    if (method !== 'GET' && method !== 'HEAD') return { status: 405, text: 'expected GET\n' };
    switch (url?.split('?')[0]) {
      case '/metrics':
        return { status: 200, type: this.#parts.registry.contentType, text: await this.#parts.registry.metrics() };
      case '/livez':
        return { status: 200, text: 'ok\n' };
      case '/readyz': {
        const { ready, reasons, warnings, users } = this.#parts.status();
        const down = users.filter(({ podman }) => podman === 'down');
        const notes = [...warnings, ...down.map(({ name, problem }) => `user ${name}: ${problem}`)];
        const lines = [...(ready ? ['ok'] : reasons), ...notes.map((note) => `warning: ${note}`)];
        return { status: ready ? 200 : 503, text: `${lines.join('\n')}\n` };
      }
      default:
        return { status: 404, text: 'expected /metrics, /livez or /readyz\n' };
    }
  }
}
