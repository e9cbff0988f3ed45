import type { Socket } from 'node:net';
import { failedWith, messageOf, NotYetError, RootlessError } from '../errors.ts';
import { peerCredentials } from '../linux/peer-credentials.ts';
import { connectToUser } from '../linux/unix-peer.ts';

/** A user, and the socket of that user's own Podman. */
export interface PodmanUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** The home directory. */
  readonly home: string;
  readonly socket: string;
}

/**
 * Connects to the user's Podman and makes sure, before a byte is sent, that it is the user who listens there. Stops a
 * user who puts a link to somebody else's socket in place of the user's and so has root speak to it.
 * @returns the connection, with allowHalfOpen
 * @throws NotYetError (code podman_unreachable) where nothing accepts
 * @throws RootlessError (code podman_not_the_users) where somebody else does
 */
export async function connectToPodman(user: PodmanUser): Promise<Socket> {
  const socket = connectToUser(user.socket, { allowHalfOpen: true });
  try {
    if (!socket)
      throw new NotYetError('no_socket', 'there is no socket, or it is behind a symlink or on a FUSE filesystem');
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
  } catch (error) {
    const remedy = `ask the operator to run, on this node: loginctl enable-linger ${user.name}; and as ${user.name}: systemctl --user enable --now podman.socket`;
    const message = `cannot reach the Podman of user ${user.name} at ${user.socket} (${whyNot(error)}); ${remedy}`;
    throw new NotYetError('podman_unreachable', message);
  }
  try {
    const { uid } = peerCredentials(socket);
    if (uid === user.uid) return socket;
    throw new RootlessError(
      `${user.socket} is served by uid ${uid}, not by user ${user.name} (uid ${user.uid}); ask the operator to put ${user.name}'s own podman.sock there`,
      { code: 'podman_not_the_users', retryable: true },
    );
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** Node's message names the file descriptor by which the socket file was opened. */
function whyNot(error: unknown): string {
  if (failedWith(error, 'ECONNREFUSED')) return 'nothing listens there';
  return messageOf(error);
}
