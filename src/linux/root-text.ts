import { open, stat } from 'node:fs/promises';
import { failedWith, RefusedError } from '../errors.ts';

/** What changes whenever a file is written or replaced; empty where there is none. @throws an Error of node:fs */
export async function versionOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (error) {
    if (isMissing(error)) return '';
    throw error;
  }
}

/**
 * Calls back with each line of a file that only root writes, off the main thread but for a piece at a time.
 * @throws RefusedError `file_too_large` where it has more than so many bytes; an Error of node:fs
 */
export async function eachLine(path: string, mostBytes: number, onLine: (line: string) => void): Promise<void> {
  try {
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    if (size > mostBytes) {
      throw new RefusedError('file_too_large', `${path}: expected at most ${mostBytes} bytes, got ${size}`);
    }
    for await (const line of file.readLines()) onLine(line);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

function isMissing(error: unknown): boolean {
  return failedWith(error, 'ENOENT', 'ENOTDIR');
}
