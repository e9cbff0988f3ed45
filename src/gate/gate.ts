import { createServer, type Server, type Socket } from 'node:net';
import { messageOf } from '../errors.ts';
import { peerCredentials } from '../linux/peer-credentials.ts';
import { WarnedOnce } from '../warned-once.ts';
import { Connection, type ConnectionParts } from './connection.ts';
import { Starts } from './starts.ts';

/** What a gate needs. */
export interface GateParts extends Omit<ConnectionParts, 'created' | 'starts' | 'held' | 'warned'> {
  /** The uid that may connect: the podman driver's, root's. */
  readonly requiredPeerUid?: number;
}

/** As listen(2) has it; the kernel takes net.core.somaxconn where that is less. */
const BACKLOG = 4096;
/** A client that has connected has its request on the way. */
const IDLE_MS = 1000;

/**
 * A user's gate: the unix socket that the podman driver is given in place of the user's podman.sock. What it does not hold
 * passes unchanged to the user's Podman; a container create waits until its allocation is ready.
 *
 * Stops: other local users (directory 0700, peer checked), a user who redirects her podman.sock, a job author who
 * names another allocation's directories, and requests made to slip past (see http-head.ts). Does not stop: the user
 * from using her own Podman directly, nor root.
 */
export class Gate {
  readonly #parts: GateParts & ConnectionParts;
  readonly #server: Server;
  /** With the time at which it was accepted, by the monotonic clock. */
  readonly #connections = new Map<Connection, number>();
  #onEnded: (() => void) | undefined;

  constructor(parts: GateParts) {
    const log = parts.log.child({ user: parts.podman.name });
    const warned = new WarnedOnce(parts.clock);
    this.#parts = { ...parts, log, warned, created: new Set(), starts: new Starts(parts.clock), held: { bytes: 0 } };
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
  }

  /**
   * Accepts at a socket that listens already: the file of it, and whether it stays when we end, are its owner's.
   * @param fd which is the gate's from here on
   * @throws errors of node:net
   */
  async open(fd: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ fd }, BACKLOG, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#server.on('error', (error) => this.#parts.log.error({ reason: error.message }, 'the gate cannot accept'));
  }

  /** How many clients are connected. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Whether a request has waited for its answer for longer than this, not one that lasts as long as a container. */
  isServingFor(ms: number): boolean {
    const before = this.#parts.clock.monotonic() - ms;
    return [...this.#connections].some(([{ stage }, accepted]) => stage === 'serving' && accepted < before);
  }

  /** Accepts no more. Who connects from now on waits where somebody else keeps the socket, and is turned away where not. */
  stopAccepting(): void {
    this.#server.close();
  }

  /**
   * Resolves once every request that has begun has its answer; those that last as long as a container are not waited for.
   * @param graceMs after which it resolves all the same
   */
  async drain(graceMs: number): Promise<void> {
    const { clock } = this.#parts;
    const until = clock.monotonic() + graceMs;
    const idleUntil = Math.min(until, clock.monotonic() + IDLE_MS);
    const isAwaited = ({ stage }: Connection) =>
      stage === 'serving' || (stage === 'idle' && clock.monotonic() < idleUntil);
    while (clock.monotonic() < until && [...this.#connections.keys()].some(isAwaited)) {
      const ended = new Promise<void>((resolve) => {
        this.#onEnded = resolve;
      });
      const timeUp = new AbortController();
      const next = clock.monotonic() < idleUntil ? idleUntil : until;
      await Promise.race([ended, clock.sleep(next - clock.monotonic() + 1, timeUp.signal)]);
      timeUp.abort();
    }
  }

  /** Ends every connection. */
  cut(): void {
    for (const connection of this.#connections.keys()) connection.cut();
  }

  #accept(socket: Socket): void {
    const connection = new Connection(socket, this.#parts);
    this.#connections.set(connection, this.#parts.clock.monotonic());
    socket.once('close', () => {
      this.#connections.delete(connection);
      this.#onEnded?.();
    });
    const required = this.#parts.requiredPeerUid ?? 0;
    const uid = this.#uidOf(socket);
    if (uid === required) {
      void connection.serve();
      return;
    }
    const message = `uid ${uid ?? 'unknown'} may not use this gate, only uid ${required}; use your own podman.sock`;
    void connection.turnAway({ status: 403, cause: 'bad_peer', message }, 'bad_peer');
  }

  /** Undefined where it cannot be told, because the client has closed already: nobody, then. */
  #uidOf(socket: Socket): number | undefined {
    try {
      return peerCredentials(socket).uid;
    } catch (error) {
      this.#parts.log.debug({ reason: messageOf(error) }, 'a client disconnected at once');
      return undefined;
    }
  }
}
