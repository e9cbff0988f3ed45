import { type Handle, openBeneathIfThere } from '../../linux/handle.ts';
import { fchmod, O } from '../../linux/libc.ts';
import { makeDirectory } from '../../linux/mount.ts';
import { stat } from '../../linux/stat.ts';

/** What is mounted in it: Nomad's own directories below alloc/. */
export const ALLOC_DIRECTORIES = ['data', 'tmp', 'logs'] as const;

/** Not sticky: fs.protected_regular would keep tasks of several ids from files that they share. */
const OPEN_TO_ALL = 0o777;

/**
 * `<allocation>/.shared`: what containers have for alloc/ itself, so that they can write there and share it. Nomad never
 * names it: in its own alloc/ root looks up and makes names (logs/<task>.stdout.0 at each rotation, data at each start of
 * its agent), and whoever can write there leads it elsewhere by a symlink.
 */
export const SHARED_DIR = '.shared';

/** The directory, with the mount points in it; undefined where it is not made, or not made whole. Close it. @throws SyscallError */
export function openSharedDir(allocation: Handle): Handle | undefined {
  const shared = openAny(allocation);
  if (shared && (stat(shared).mode & OPEN_TO_ALL) === OPEN_TO_ALL) return shared;
  shared?.close();
  return undefined;
}

/** Makes it: for everybody only once all is in it. @throws SyscallError */
export function makeSharedDir(allocation: Handle): void {
  makeDirectory(allocation, SHARED_DIR, 0o700);
  using shared = openAny(allocation);
  if (!shared) return;
  for (const name of ALLOC_DIRECTORIES) makeDirectory(shared, name, 0o755);
  fchmod(shared.path, shared.fd, OPEN_TO_ALL);
}

function openAny(allocation: Handle): Handle | undefined {
  return openBeneathIfThere(allocation, SHARED_DIR, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
}
