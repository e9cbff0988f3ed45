import { readSync } from 'node:fs';
import type { Handle } from './handle.ts';

/** The first bytes of an open file, as text, at most `limit` bytes. @throws an Error of node:fs */
export function readSmallFile(file: Handle, limit: number): string {
  const buffer = Buffer.alloc(limit);
  return buffer.toString('utf8', 0, readSync(file.fd, buffer, 0, limit, 0));
}
