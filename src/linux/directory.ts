import { lstatSync, mkdirSync, opendirSync, readdirSync, realpathSync, statSync } from 'node:fs';
import type { Handle } from './handle.ts';

/** Makes a directory and those above it, where only root can write. @throws an Error of node:fs */
export function makeDirectories(path: string, mode: number): void {
  mkdirSync(path, { recursive: true, mode });
}

/** Whether there is a directory at a path that only root has shaped. @throws an Error of node:fs */
export function directoryIsThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** The canonical form of a path that only root has shaped. @throws an Error of node:fs */
export function canonicalPath(path: string): string {
  return realpathSync(path);
}

/** As canonicalPath; the path itself where nothing is there. @throws an Error of node:fs for any other reason */
export function canonicalPathIfThere(path: string): string {
  return lstatSync(path, { throwIfNoEntry: false }) ? realpathSync(path) : path;
}

/** The canonical form of a directory's path that only root has shaped. @throws an Error of node:fs, also where it is no directory */
export function canonicalDirectory(path: string): string {
  const canonical = realpathSync(path);
  opendirSync(canonical).closeSync();
  return canonical;
}

/** The names in an open directory. @throws an Error of node:fs */
export function entriesOf(directory: Handle): string[] {
  return readdirSync(`/proc/self/fd/${directory.fd}`);
}

/** The names in a directory at a path that only root has shaped, in the current mount namespace. @throws an Error of node:fs */
export function entriesAt(path: string): string[] {
  return readdirSync(path);
}

/** Some of the names in an open directory that others can fill, at most so many. @throws an Error of node:fs */
export function entriesUpTo(directory: Handle, most: number): string[] {
  const open = opendirSync(`/proc/self/fd/${directory.fd}`, { bufferSize: 32 });
  const names: string[] = [];
  try {
    for (let entry = open.readSync(); entry && names.length < most; entry = open.readSync()) names.push(entry.name);
  } finally {
    open.closeSync();
  }
  return names;
}
