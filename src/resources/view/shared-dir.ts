import { type Handle, openBeneathIfThere } from '../../linux/handle.ts';
import { fchmod, O } from '../../linux/libc.ts';
import { makeDirectory } from '../../linux/mount.ts';
import { stat } from '../../linux/stat.ts';

/** What is mounted in it: Nomad's own directories below alloc/. */
export const ALLOC_DIRECTORIES = ['data', 'tmp', 'logs'] as const;

/** Not sticky: fs.protected_regular would keep tasks of several ids from files that they share. */
const OPEN_TO_ALL = 0o777;

/**
 * The directory of a user, `<allocation>/.shared`: what containers have for alloc/ itself, so that they can write there and share it. Nomad never
 * names it: in its own alloc/ root looks up and makes names (logs/<task>.stdout.0 at each rotation, data at each start of
 * its agent), and whoever can write there leads it elsewhere by a symlink.
 *
 * Where podman tasks of several users are in an allocation each of them has one of her own: the names in it are on the way of
 * her Podman, which looks up log FIFOs there, and who can rename them leads it elsewhere.
 */
export function sharedDirOf(uid: number, users: readonly { readonly uid: number }[]): string {
  return users.length > 1 ? `${SHARED}-${uid}` : SHARED;
}

/** Whether a name in the directory of an allocation is that of such a directory. */
export function isSharedDir(name: string): boolean {
  return name === SHARED || /^\.shared-\d+$/.test(name);
}

const SHARED = '.shared';

/** The directory, with the mount points in it; undefined where it is not made, or not made whole. Close it. @throws SyscallError */
export function openSharedDir(allocation: Handle, name: string): Handle | undefined {
  const shared = openAny(allocation, name);
  if (shared && (stat(shared).mode & OPEN_TO_ALL) === OPEN_TO_ALL) return shared;
  shared?.close();
  return undefined;
}

/** Makes it: for everybody only once all is in it. @throws SyscallError */
export function makeSharedDir(allocation: Handle, name: string): void {
  makeDirectory(allocation, name, 0o700);
  using shared = openAny(allocation, name);
  if (!shared) return;
  for (const directory of ALLOC_DIRECTORIES) makeDirectory(shared, directory, 0o755);
  fchmod(shared.path, shared.fd, OPEN_TO_ALL);
}

function openAny(allocation: Handle, name: string): Handle | undefined {
  return openBeneathIfThere(allocation, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
}
