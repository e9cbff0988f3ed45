import { createServer, type Server, type Socket } from 'node:net';
import { peerCredentials } from '../linux/peer-credentials.ts';
import { giveSocket, makeRoomForSocket } from '../linux/socket-file.ts';
import { Connection, type ConnectionParts } from './connection.ts';

/** What a gate needs. */
export interface GateParts extends ConnectionParts {
  /** Where the gate listens: `<gate.dir>/<user>.sock`. */
  readonly path: string;
  /** The uid that may connect: the podman driver's, root's. */
  readonly requiredPeerUid?: number;
}

/**
 * A user's gate: the unix socket that the podman driver is given in place of the user's podman.sock. Everything passes
 * unchanged to the user's Podman, but a container create waits until its allocation is ready.
 *
 * Stops: other local users (directory 0700, peer checked), a user who redirects her podman.sock, a job author who
 * names another allocation's directories, and requests made to slip past (see http-head.ts). Does not stop: the user
 * from using her own Podman directly, nor root.
 */
export class Gate {
  readonly #parts: GateParts;
  readonly #server: Server;
  readonly #connections = new Map<Socket, Connection>();

  constructor(parts: GateParts) {
    this.#parts = { ...parts, log: parts.log.child({ gate: parts.user.name }) };
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
  }

  /**
   * Listens. The socket file belongs to the user, 0600: the driver gives a task's log FIFOs to the owner of the socket
   * file. The directory above it keeps the user away from it all the same.
   * @throws RefusedError where the directory is open to others or somebody listens there already; errors of node:net
   */
  async listen(): Promise<void> {
    const { path, user } = this.#parts;
    await makeRoomForSocket(path);
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(path, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    giveSocket(path, user.uid, user.gid);
    this.#server.on('error', (error) => this.#parts.log.error({ reason: error.message }, 'the gate cannot accept'));
  }

  /** Takes no new connections, lets requests in flight have their responses for at most `graceMs`, then cuts what is left. */
  async close({ graceMs }: { graceMs: number }): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#connections.values()) connection.finish();
    const stop = this.#parts.clock.after(graceMs, () => {
      for (const connection of this.#connections.values()) connection.cut();
    });
    await closed;
    stop();
  }

  #accept(socket: Socket): void {
    const connection = new Connection(socket, this.#parts);
    this.#connections.set(socket, connection);
    socket.once('close', () => this.#connections.delete(socket));
    const required = this.#parts.requiredPeerUid ?? 0;
    const uid = uidOf(socket);
    if (uid === required) {
      void connection.serve();
      return;
    }
    const message = `uid ${uid ?? 'unknown'} may not use this gate, only uid ${required}; use your own podman.sock`;
    void connection.turnAway({ status: 403, cause: 'bad peer', message, close: true }, 'bad_peer');
  }
}

/** Undefined where it cannot be told, because the client has closed already: nobody, then. */
function uidOf(socket: Socket): number | undefined {
  try {
    return peerCredentials(socket).uid;
  } catch {
    return undefined;
  }
}
