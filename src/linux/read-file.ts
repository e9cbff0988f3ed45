import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { failedWith, RefusedError } from '../errors.ts';

/** A buffer of the most that a file may have would stay in an idle agent's memory. */
const FIRST_BYTES = 64 * 1024;

/**
 * The text of a file that root chose, such as a configuration or token file: symlinks are followed.
 * @param maxBytes more than this is refused: what is read here is small, and a wrong path must not fill the memory
 * @returns undefined where nothing is there: no such file, or no such directory on the way
 * @throws RefusedError `file_too_large`, or `file_unreadable` with the cause
 */
export function readTextIfThere(path: string, maxBytes: number): string | undefined {
  return readIfThere(path, maxBytes)?.toString('utf8');
}

/** As readTextIfThere, the bytes. */
export function readIfThere(path: string, maxBytes: number): Buffer | undefined {
  try {
    return readAtMost(path, maxBytes);
  } catch (cause) {
    if (cause instanceof RefusedError) throw cause;
    if (failedWith(cause, 'ENOENT', 'ENOTDIR')) return undefined;
    throw new RefusedError('file_unreadable', `cannot read ${path}`, cause);
  }
}

function readAtMost(path: string, maxBytes: number): Buffer {
  const fd = openSync(path, 'r');
  try {
    let buffer = Buffer.alloc(Math.min(maxBytes + 1, FIRST_BYTES));
    let length = 0;
    for (let read = -1; read !== 0; length += read) {
      if (length > maxBytes)
        throw new RefusedError('file_too_large', `${path}: expected at most ${maxBytes} bytes, got more`);
      if (length === buffer.length) buffer = Buffer.concat([buffer], Math.min(2 * length, maxBytes + 1));
      read = readSync(fd, buffer, length, buffer.length - length, null);
    }
    return buffer.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}

/** Whether there is a regular file at a path that root chose. @throws an Error of node:fs */
export function fileIsThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}
