import koffi from 'koffi';
import { RootlessError } from '../errors.ts';

/** include/uapi/asm-generic/fcntl.h. */
const LOCK_EX = 2;
const LOCK_NB = 4;
const flock = koffi.load('libc.so.6').func('int flock(int fd, int operation)');

/**
 * Locks an open file for this process, flock(2). The kernel lets it go when the last file descriptor of this opening is closed.
 * @param path for errors
 * @returns false where somebody else has locked it
 * @throws RootlessError `syscall_flock`
 */
export function tryLock(path: string, fd: number): boolean {
  if (flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const errno = koffi.errno();
  if (errno === koffi.os.errno.EAGAIN) return false;
  throw new RootlessError(`flock ${path} failed with errno ${errno}`, { code: 'syscall_flock', retryable: false });
}
