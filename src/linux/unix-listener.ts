import { chmodSync, chownSync, lstatSync, unlinkSync } from 'node:fs';
import { bindCall, closeFd, getsockname, getsockoptCall, listenCall, O, socketCall } from './libc.ts';
import { AF_UNIX, PATH_OFFSET, SOCKADDR_UN_SIZE, unixAddress } from './unix-address.ts';

/** include/linux/net.h. */
const SOCK_STREAM = 1;
/** Options of SOL_SOCKET, include/uapi/asm-generic/socket.h. */
const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_ACCEPTCONN = 30;
/** The kernel takes net.core.somaxconn where that is less. */
const BACKLOG = 4096;

/** Whose a socket file is, and what may be done with it. */
interface SocketOwner {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

/**
 * Makes a unix socket listen at a path where nothing is, in a directory where only root can write. Nobody can connect
 * before the socket file has its owner and mode: it listens only then. Node's own listen would remove the file when
 * the server closes, which is what a socket that outlives us must not suffer.
 * @returns the file descriptor, close-on-exec
 * @throws SyscallError; an Error of node:fs
 */
export function listenAt(path: string, owner: SocketOwner): number {
  const fd = socketCall(path, AF_UNIX, SOCK_STREAM | O.CLOEXEC | O.NONBLOCK, 0);
  try {
    const address = unixAddress(path);
    bindCall(path, fd, address, address.length);
    giveSocketFile(path, owner);
    listenCall(path, fd, BACKLOG);
    return fd;
  } catch (error) {
    closeFd(path, fd);
    throw error;
  }
}

/**
 * Why a file descriptor that somebody kept for us is not a socket that listens at `path`; undefined where it is. The
 * directory of `path` must be one where only root can write: the file is looked at by name.
 * @throws SyscallError where it is no socket
 */
export function whyNotListeningAt(fd: number, path: string): string | undefined {
  if (!socketFileIsThere(path)) return `there is no socket at ${path}`;
  const address = Buffer.alloc(SOCKADDR_UN_SIZE);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(address.length);
  getsockname(path, fd, address, size);
  const end = address.indexOf(0, PATH_OFFSET);
  const bound = address.toString('utf8', PATH_OFFSET, end === -1 ? address.length : end);
  if (address.readUInt16LE(0) !== AF_UNIX || bound !== path) return `it is bound to ${JSON.stringify(bound)}`;
  if (option(fd, path, SO_TYPE) !== SOCK_STREAM || option(fd, path, SO_ACCEPTCONN) !== 1) return 'it does not listen';
  return undefined;
}

/** Gives a socket file to its owner, in a directory where only root can write. @throws an Error of node:fs */
export function giveSocketFile(path: string, { uid, gid, mode }: SocketOwner): void {
  chmodSync(path, mode);
  chownSync(path, uid, gid);
}

/** Takes the file of a socket away that listens no more. @throws an Error of node:fs */
export function removeSocketFile(path: string): void {
  if (socketFileIsThere(path)) unlinkSync(path);
}

/** Whether there is a socket at a path in such a directory. @throws an Error of node:fs */
export function socketFileIsThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}

function option(fd: number, path: string, name: number): number {
  const value = Buffer.alloc(4);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(value.length);
  getsockoptCall(path, fd, SOL_SOCKET, name, value, size);
  return value.readInt32LE(0);
}
