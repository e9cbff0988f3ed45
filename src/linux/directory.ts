import { mkdirSync, readdirSync, realpathSync } from 'node:fs';
import type { Handle } from './handle.ts';

/** Makes a directory and those above it, where only root can write. @throws an Error of node:fs */
export function makeDirectories(path: string, mode: number): void {
  mkdirSync(path, { recursive: true, mode });
}

/** The canonical form of a path that only root has shaped. @throws an Error of node:fs */
export function canonicalPath(path: string): string {
  return realpathSync(path);
}

/** The names in an open directory. @throws an Error of node:fs */
export function entriesOf(directory: Handle): string[] {
  return readdirSync(`/proc/self/fd/${directory.fd}`);
}
