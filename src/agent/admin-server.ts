import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { messageOf, NotYetError, RefusedError, RootlessError } from '../errors.ts';
import { peerCredentials } from '../linux/peer-credentials.ts';
import type { ServiceManager } from '../linux/service-manager.ts';
import { claimSocketPath, type SocketClaim } from '../linux/socket-path.ts';
import { listenAt, removeSocketFile } from '../linux/unix-listener.ts';
import type { Log } from '../log.ts';
import { isAllocationId } from '../model/allocation.ts';
import type { Explanation } from '../model/explanation.ts';
import type { AgentStatus } from '../model/status.ts';

/** The lock that keeps a second agent from this host, as the service manager keeps it while there is none of us. */
const LOCK = 'admin-lock';

/** What the admin server needs; `peer` says who is at the other end of a connection. */
interface AdminServerParts {
  readonly socketPath: string;
  readonly status: () => AgentStatus;
  /** What is said of an allocation; undefined where there is none of this id. */
  readonly explain: (id: string) => Promise<Explanation | undefined>;
  readonly log: Log;
  readonly manager: ServiceManager;
  readonly peer?: (socket: Socket) => { readonly uid: number };
}

/**
 * HTTP over a unix socket, for the command line on the same host: `GET /v1/status` gives an AgentStatus as JSON, and
 * `GET /v1/explain/<allocation id>` an Explanation. Errors are `{error}` with the message.
 */
export class AdminServer {
  readonly #parts: AdminServerParts;
  readonly #server: Server;
  #claim: SocketClaim | undefined;

  constructor(parts: AdminServerParts) {
    this.#parts = parts;
    this.#server = createServer((request, response) => void this.#answer(request, response));
    this.#server.on('connection', (socket) => this.#admit(socket));
  }

  /** @throws RefusedError `agent_running` where another agent listens there; see also claimSocketPath */
  async listen(): Promise<void> {
    const { socketPath: path, manager } = this.#parts;
    try {
      const kept = manager.take(LOCK);
      this.#claim = claimSocketPath(path, kept);
      // Of a lock file that somebody has removed: the manager would keep both, and give the next of us the wrong one.
      if (kept !== undefined && kept !== this.#claim.fd) manager.forget(LOCK);
      manager.keep(LOCK, this.#claim.fd);
    } catch (error) {
      if (!(error instanceof RefusedError) || error.code !== 'socket_in_use') throw error;
      const message =
        'another agent is running (see `nomad-rootless status`), or systemd keeps its lock: systemctl stop nomad-rootless, then systemctl clean --what=fdstore nomad-rootless';
      throw new RefusedError('agent_running', message, error);
    }
    try {
      const fd = listenAt(path, { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, mode: 0o600 });
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject);
        this.#server.listen({ fd }, () => {
          this.#server.off('error', reject);
          resolve();
        });
      });
    } catch (cause) {
      throw new RootlessError(`cannot listen on ${path}`, { code: 'admin_socket', retryable: false, cause });
    }
    this.#server.on('error', (error) =>
      this.#parts.log.error({ reason: error.message }, 'admin socket: cannot accept'),
    );
  }

  /** Ends open connections and removes the socket. */
  async close(): Promise<void> {
    if (this.#claim) removeSocketFile(this.#parts.socketPath);
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
    this.#claim?.[Symbol.dispose]();
    this.#claim = undefined;
  }

  /**
   * Stops other local users from learning who runs what on this node, even where the socket's permissions were widened.
   * Whoever runs the agent may ask it as well as root.
   */
  #admit(socket: Socket): void {
    try {
      const { uid } = (this.#parts.peer ?? peerCredentials)(socket);
      if (uid === 0 || uid === process.geteuid?.()) return;
      this.#parts.log.warn({ uid }, 'admin socket: expected a peer with uid 0');
    } catch (error) {
      this.#parts.log.warn({ error: messageOf(error) }, 'admin socket: cannot tell who connects');
    }
    socket.destroy();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { status, body } = await this.#page(request).catch((error: unknown) => {
      this.#parts.log.error({ error: messageOf(error) }, `admin socket: cannot answer ${request.url}`);
      return { status: 500, body: { error: messageOf(error) } };
    });
    response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
  }

  async #page({ method, url = '' }: IncomingMessage): Promise<Page> {
    const [, id] = /^\/v1\/explain\/([^/]*)$/.exec(url) ?? [];
    if (url !== '/v1/status' && id === undefined) {
      return { status: 404, body: { error: `expected /v1/status or /v1/explain/<allocation id>, got ${url}` } };
    }
    if (method !== 'GET') return { status: 405, body: { error: `expected GET, got ${method}` } };
    return id === undefined ? { status: 200, body: this.#parts.status() } : await this.#explanation(id);
  }

  async #explanation(id: string): Promise<Page> {
    if (!isAllocationId(id))
      return { status: 400, body: { error: `expected the whole id of an allocation, got ${id}` } };
    try {
      const body = await this.#parts.explain(id);
      return body ? { status: 200, body } : { status: 404, body: { error: `Nomad knows no allocation ${id}` } };
    } catch (error) {
      if (!(error instanceof NotYetError)) throw error;
      return { status: 503, body: { error: messageOf(error) } };
    }
  }
}

interface Page {
  readonly status: number;
  readonly body: object;
}
