import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { messageOf, RefusedError, RootlessError } from '../errors.ts';
import { peerCredentials } from '../linux/peer-credentials.ts';
import { claimSocketPath, type SocketClaim, setSocketMode } from '../linux/socket-path.ts';
import type { Log } from '../log.ts';
import type { AgentStatus } from '../model/status.ts';

/** What the admin server needs; `peer` says who is at the other end of a connection. */
export interface AdminServerParts {
  readonly socketPath: string;
  readonly status: () => AgentStatus;
  readonly log: Log;
  readonly peer?: (socket: Socket) => { readonly uid: number };
}

/** HTTP over a unix socket, for the command line on the same host: `GET /v1/status` gives an AgentStatus as JSON. */
export class AdminServer {
  readonly #parts: AdminServerParts;
  readonly #server: Server;
  #claim: SocketClaim | undefined;

  constructor(parts: AdminServerParts) {
    this.#parts = parts;
    this.#server = createServer((request, response) => this.#answer(request, response));
    this.#server.on('connection', (socket) => this.#admit(socket));
  }

  /** @throws RefusedError `agent_running` where another agent listens there; see also claimSocketPath */
  async listen(): Promise<void> {
    const path = this.#parts.socketPath;
    try {
      this.#claim = claimSocketPath(path);
    } catch (error) {
      if (!(error instanceof RefusedError) || error.code !== 'socket_in_use') throw error;
      throw new RefusedError('agent_running', `another agent is running; see \`nomad-rootless status\``, error);
    }
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause) =>
        reject(new RootlessError(`cannot listen on ${path}`, { code: 'admin_socket', retryable: false, cause })),
      );
      this.#server.listen(path, resolve);
    });
    setSocketMode(path, 0o600);
  }

  /** Ends open connections and removes the socket. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
    this.#claim?.[Symbol.dispose]();
    this.#claim = undefined;
  }

  /**
   * Stops other local users from learning who runs what on this node, even where the socket's permissions were widened,
   * or in the moment before they are set. Whoever runs the agent may ask it as well as root.
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

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { status, body } = this.#page(request);
    response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
  }

  #page({ method, url }: IncomingMessage): { status: number; body: object } {
    if (url !== '/v1/status') return { status: 404, body: { error: `expected /v1/status, got ${url}` } };
    if (method !== 'GET') return { status: 405, body: { error: `expected GET, got ${method}` } };
    try {
      return { status: 200, body: this.#parts.status() };
    } catch (error) {
      this.#parts.log.error({ error: messageOf(error) }, 'admin socket: cannot say the status');
      return { status: 500, body: { error: messageOf(error) } };
    }
  }
}
