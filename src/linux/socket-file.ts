import { lstatSync, mkdirSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { failedWith, RefusedError } from '../errors.ts';

/**
 * Makes the directory of listening unix sockets, 0700 and ours (root's in production): it is what keeps other local users
 * from them, their owners included.
 * @throws RefusedError `socket_directory_open` where it is another's or open to others
 */
export function makeSocketDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const { mode, uid } = lstatSync(directory);
  const own = process.geteuid?.();
  if ((mode & 0o170000) === 0o040000 && uid === own && (mode & 0o077) === 0) return;
  const remedy = `it must be a directory of uid ${own} with mode 0700; remove it, and it is made anew`;
  const shown = `uid ${uid}, mode 0${(mode & 0o7777).toString(8)}`;
  throw new RefusedError('socket_directory_open', `${directory} (${shown}): ${remedy}`);
}

/**
 * Takes away the socket file that a killed predecessor left at a path in such a directory.
 * @throws RefusedError `not_a_socket` where it is none, `socket_in_use` where somebody still listens there
 */
export async function makeRoomForSocket(path: string): Promise<void> {
  const file = lstatSync(path, { throwIfNoEntry: false });
  if (!file) return;
  if (!file.isSocket()) throw new RefusedError('not_a_socket', `${path} exists and is not a socket; remove it`);
  if (await accepts(path)) {
    throw new RefusedError('socket_in_use', `another process listens on ${path}; check whether another agent runs`);
  }
  unlinkSync(path);
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => {
      if (failedWith(error, 'ECONNREFUSED')) resolve(false);
      else reject(error);
    });
  });
}

/** The paths of the unix sockets right in a directory; none where it is not there. @throws an Error of node:fs */
export function socketFilesIn(directory: string): string[] {
  if (!lstatSync(directory, { throwIfNoEntry: false })?.isDirectory()) return [];
  return readdirSync(directory)
    .map((name) => join(directory, name))
    .filter((path) => lstatSync(path).isSocket());
}

/** Removes the sockets right in a directory, and the directory where it is empty then. @throws an Error of node:fs */
export function removeSocketFiles(directory: string): void {
  for (const path of socketFilesIn(directory)) unlinkSync(path);
  if (lstatSync(directory, { throwIfNoEntry: false }) && readdirSync(directory).length === 0) rmdirSync(directory);
}
