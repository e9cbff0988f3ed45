import { closeSync, constants, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/**
 * Writes a file whole or not at all, in the place of an earlier one.
 * @param mode only root reads it, unless told
 * @throws an Error of node:fs
 */
export function writeWhole(path: string, content: string | Buffer, mode = 0o600): void {
  writeFileSync(`${path}.new`, content, { mode });
  renameSync(`${path}.new`, path);
}

/** Gives a file another name in its directory. @throws an Error of node:fs */
export function renameFile(from: string, to: string): void {
  renameSync(from, to);
}

/** Makes an empty file to mount something on; nothing where it is there. @throws an Error of node:fs */
export function makeMountPoint(path: string): void {
  closeSync(openSync(path, constants.O_RDONLY | constants.O_CREAT | constants.O_NOFOLLOW, 0o600));
}

/** Removes a file; nothing where it is gone already. @throws an Error of node:fs */
export function removeFile(path: string): void {
  rmSync(path, { force: true });
}
