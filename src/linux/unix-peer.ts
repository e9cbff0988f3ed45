import { connect, type Socket } from 'node:net';
import { failedWith, NotYetError } from '../errors.ts';
import { type PeerCredentials, peerCredentials } from './peer-credentials.ts';
import { openUsersFile } from './users-file.ts';

/**
 * Connects to a unix socket whose path a user shapes: by the handle that openUsersFile gives, for a path that leads to a
 * filesystem of the user's would stop the whole agent in connect(2). Whose socket it is must be asked afterwards (SO_PEERCRED).
 * @returns undefined where there is no such file, or no way to it
 * @throws SyscallError, an Error of node:fs
 */
export function connectToUser(path: string, options: { readonly allowHalfOpen: boolean }): Socket | undefined {
  using file = openUsersFile(path);
  return file && connect({ path: `/proc/self/fd/${file.fd}`, ...options });
}

/**
 * Connects to a unix socket, asks the kernel who made it listen (SO_PEERCRED, unix(7)), and hangs up. Not a byte is
 * sent, so that it does no harm where a user has put a link to somebody else's socket there.
 * @returns undefined where nothing listens
 * @throws NotYetError (code no_listener) where that cannot be said now: the backlog is full, say
 */
export function listenerOf(socketPath: string): Promise<PeerCredentials | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connectToUser(socketPath, { allowHalfOpen: false });
    if (!socket) return resolve(undefined);
    socket.once('connect', () => {
      try {
        resolve(peerCredentials(socket));
      } catch (error) {
        reject(error);
      } finally {
        socket.destroy();
      }
    });
    socket.once('error', (error) => {
      if (failedWith(error, 'ENOENT', 'ECONNREFUSED')) resolve(undefined);
      else reject(new NotYetError('no_listener', `cannot tell who listens on ${socketPath}`, error));
    });
  });
}
