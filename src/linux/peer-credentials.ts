import type { Socket } from 'node:net';
import koffi from 'koffi';
import { RootlessError } from '../errors.ts';

/** Who is at the other end of a unix socket, as the kernel noted it: uid in our own user namespace. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
}

/** include/uapi/asm-generic/socket.h (x86_64 and arm64 agree), struct ucred of unix(7): three 32-bit numbers. */
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
export const UCRED_SIZE = 12;

/** poll(2): struct pollfd is an int and two shorts, include/uapi/asm-generic/poll.h. */
const POLLFD_SIZE = 8;
const REVENTS_OFFSET = 6;
const POLLHUP = 0x10;

const libc = koffi.load('libc.so.6');
const getsockopt = libc.func(
  'int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint32_t *length)',
);
const poll = libc.func('int poll(_Inout_ uint8_t *fds, unsigned long count, int timeout)');

/**
 * SO_PEERCRED, unix(7): of an accepted connection, the process that connected; of a connection we made, the process
 * that called listen(2). Noted then and there: whoever was handed the socket later is not seen.
 * @throws RootlessError (code no_peer_credentials) where the socket is closed or no unix socket
 */
export function peerCredentials(socket: Socket): PeerCredentials {
  const fd = fdOf(socket);
  if (fd === undefined) throw failed('the socket is closed');
  const value = Buffer.alloc(UCRED_SIZE);
  const length = [UCRED_SIZE];
  const result: number = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length);
  if (result !== 0) throw failed(`getsockopt failed with errno ${koffi.errno()}`);
  if (length[0] !== UCRED_SIZE) throw failed(`getsockopt gave ${length[0]} bytes, expected ${UCRED_SIZE}`);
  return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4) };
}

/**
 * Whether the other side of a unix socket has closed it, and not only said that nothing more comes: of a socket that may be
 * half open Node tells the one as the other, and nothing any more once that has been told.
 */
export function hasHungUp(socket: Socket): boolean {
  const fd = fdOf(socket);
  if (fd === undefined) return true;
  const pollfd = Buffer.alloc(POLLFD_SIZE);
  pollfd.writeInt32LE(fd, 0);
  return poll(pollfd, 1, 0) === 1 && (pollfd.readInt16LE(REVENTS_OFFSET) & POLLHUP) !== 0;
}

/** Node has no public way to a socket's file descriptor; `_handle.fd` is gone once the socket is closed. */
function fdOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null) return undefined;
  const fd: unknown = Reflect.get(handle, 'fd');
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}

function failed(why: string): RootlessError {
  return new RootlessError(`cannot tell who is at the other end of a socket: ${why}`, {
    code: 'no_peer_credentials',
    retryable: false,
  });
}
