import { createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import { closeFd, fcntl } from '../linux/libc.ts';

/** fcntl(2), include/uapi/linux/fcntl.h: F_LINUX_SPECIFIC_BASE + 6. */
const F_DUPFD_CLOEXEC = 1030;

/** What decides how much all who connect can cost. */
interface Limits {
  /** Connections that are open at once. */
  readonly most: number;
  /** How long a connection counts at the least, however soon it is over, ms. */
  readonly leastMs: number;
  /** When a connection is ended, whatever its other side does, ms. */
  readonly mostMs: number;
  /** How many may wait that are not accepted; the kernel turns the others away. */
  readonly backlog: number;
}

/**
 * Takes few connections of a listening socket at once, and few in a second. Who comes beyond them waits in the kernel's queue,
 * where that costs us nothing: accepting a connection only to end it costs about as much as opening one costs whoever does
 * that all day. `maxConnections` of node:net does so, and who is ended is as often as not the one that came but once.
 */
export class FewConnections {
  readonly #fd: number;
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #take: (socket: Socket) => void;
  readonly #open = new Set<Socket>();
  #counted = 0;
  #server: Server | undefined;
  #isClosed = false;

  /** @param fd a listening socket, which is closed with it @param take called with each connection */
  constructor(fd: number, limits: Limits, clock: Clock, take: (socket: Socket) => void) {
    this.#fd = fd;
    this.#limits = limits;
    this.#clock = clock;
    this.#take = take;
  }

  /** Begins to accept. @returns the port where it is on TCP @throws SyscallError; an Error of node:net */
  listen(): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      const server = this.#accept();
      server.once('error', reject);
      server.once('listening', () => {
        server.off('error', reject);
        const address = server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : undefined);
      });
    });
  }

  /** Ends all connections, and listens no more. */
  close(): void {
    this.#isClosed = true;
    this.#server?.close();
    for (const socket of this.#open) socket.destroy();
    closeFd('a listening socket', this.#fd);
  }

  /** Of a duplicate: Node's server closes its descriptor when it is to stop accepting, and ours keeps the port. */
  #accept(): Server {
    const fd = fcntl('a listening socket', this.#fd, F_DUPFD_CLOEXEC, 0);
    const server = createServer((socket) => this.#admit(socket));
    this.#server = server.listen({ fd, backlog: this.#limits.backlog });
    return server;
  }

  #admit(socket: Socket): void {
    const { most, leastMs, mostMs } = this.#limits;
    this.#open.add(socket);
    if (++this.#counted >= most) {
      this.#server?.close();
      this.#server = undefined;
    }
    const stop = this.#clock.after(mostMs, () => socket.destroy());
    const least = new Promise<void>((resolve) => this.#clock.after(leastMs, resolve));
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      stop();
      this.#open.delete(socket);
      void least.then(() => this.#release());
    });
    this.#take(socket);
  }

  #release(): void {
    this.#counted--;
    if (!this.#server && !this.#isClosed) this.#accept();
  }
}
