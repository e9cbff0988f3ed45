import { connect } from 'node:net';
import { NotYetError } from '../errors.ts';
import { type PeerCredentials, peerCredentials } from './peer-credentials.ts';

/** connect(2) to a path where nobody listens, or that leads nowhere. */
const NOBODY = ['ENOENT', 'ECONNREFUSED', 'ENOTDIR', 'ELOOP', 'EACCES'];

/**
 * Connects to a unix socket, asks the kernel who made it listen (SO_PEERCRED, unix(7)), and hangs up. Not a byte is
 * sent, so that it does no harm where a user has put a link to somebody else's socket there.
 * @returns undefined where nothing listens
 * @throws NotYetError (code no_listener) where that cannot be said now: the backlog is full, say
 */
export function listenerOf(socketPath: string): Promise<PeerCredentials | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    socket.once('connect', () => {
      try {
        resolve(peerCredentials(socket));
      } catch (error) {
        reject(error);
      } finally {
        socket.destroy();
      }
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (NOBODY.includes(error.code ?? '')) resolve(undefined);
      else reject(new NotYetError('no_listener', `cannot tell who listens on ${socketPath}`, error));
    });
  });
}
