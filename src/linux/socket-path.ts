import { closeSync, constants, fstatSync, lstatSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { RefusedError } from '../errors.ts';
import { tryLock } from './file-lock.ts';

const WRITABLE_BY_OTHERS = 0o022;

/**
 * The right to listen at a path. Let go of it when nothing listens there any more; the kernel does it when the last file
 * descriptor of the lock is closed, ours or one that is kept for us.
 */
export interface SocketClaim extends Disposable {
  readonly fd: number;
}

/**
 * Makes a path free for a unix socket of ours to listen on, and keeps it ours: makes its directory (0755), locks a
 * file beside it that only root can open (flock(2): of two agents that start in the same instant one gets it), and removes a socket that a killed agent left.
 *
 * Stops other local users from putting a socket of theirs in our place: the directory has to be ours or root's, with no
 * write permission for anybody else. Does not stop root.
 * @param kept the file descriptor of the lock that was kept over our predecessor's end, which is the claim's from here on
 * @throws RefusedError `socket_in_use`, `socket_path_unsafe`; an Error of node:fs
 */
export function claimSocketPath(path: string, kept?: number): SocketClaim {
  const directory = dirname(path);
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  checkOwner(directory);
  const opened = openSync(`${path}.lock`, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  const isSame = kept !== undefined && fstatSync(kept).ino === fstatSync(opened).ino;
  if (kept !== undefined) closeSync(isSame ? opened : kept);
  const fd = isSame ? kept : opened;
  try {
    if (!tryLock(`${path}.lock`, fd)) {
      throw new RefusedError('socket_in_use', `another process has locked ${path}.lock`);
    }
    removeSocket(path);
    return { fd, [Symbol.dispose]: () => closeSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function checkOwner(directory: string): void {
  const { uid, mode } = lstatSync(directory);
  if ((uid === 0 || uid === process.geteuid?.()) && (mode & WRITABLE_BY_OTHERS) === 0) return;
  const got = `uid ${uid}, mode ${(mode & 0o7777).toString(8)}`;
  throw new RefusedError(
    'socket_path_unsafe',
    `${directory}: expected a directory that only root can write to, got ${got}`,
  );
}

function removeSocket(path: string): void {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there !== undefined && !there.isSocket()) {
    throw new RefusedError('socket_path_unsafe', `${path}: expected a socket or nothing, got another kind of file`);
  }
  rmSync(path, { force: true });
}
