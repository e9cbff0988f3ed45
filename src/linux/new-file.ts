import { closeSync, constants, fsyncSync, openSync, writeFileSync } from 'node:fs';
import { failedWith, RefusedError } from '../errors.ts';

/**
 * Writes a file that was not there, for root alone. A file or a link of that name is left as it is and not followed, also where
 * another user put it there; who can write the directory can rename what is made, not read or change it.
 * @throws RefusedError `file_exists`; an Error of node:fs
 */
export function writeNewFile(path: string, bytes: Uint8Array): void {
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  let fd: number;
  try {
    fd = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  } catch (cause) {
    if (!failedWith(cause, 'EEXIST')) throw cause;
    throw new RefusedError('file_exists', `${path} is there already, and is left as it is; name another file`, cause);
  }
  try {
    writeFileSync(fd, bytes);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
