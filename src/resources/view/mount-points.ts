import { basename, dirname } from 'node:path';
import { failedWith } from '../../errors.ts';
import { entriesOf } from '../../linux/directory.ts';
import { type Handle, openBeneathIfThere } from '../../linux/handle.ts';
import { O } from '../../linux/libc.ts';
import { makeDirectory, makeFile, removeDirectory, removeFileFrom } from '../../linux/mount.ts';

/** Everybody may pass and look: what is in there is what they are shown. */
export const DIRECTORY_MODE = 0o755;
/** Of the mount point of something that is mounted read-only: so it is known again. */
export const READ_ONLY_MODE = 0o555;

/**
 * Mount points in a user's tree, by paths relative to its root. The handle is of a mount of the tree's tmpfs alone, without
 * what is mounted in it: so nothing that a user can shape lies on the way.
 */

/** The directory at a path; undefined where it is not there. @throws SyscallError */
export function openDirectoryAt(tree: Handle, path: string): Handle | undefined {
  return openBeneathIfThere(tree, path === '' ? '.' : path, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
}

/** Makes the mount point at a path, with the directories above it. @throws SyscallError */
export function makeMountPointAt(
  tree: Handle,
  path: string,
  { kind, mode = DIRECTORY_MODE }: { readonly kind: 'directory' | 'file'; readonly mode?: number },
): void {
  using parent = makeDirectoryAt(tree, dirname(path) === '.' ? '' : dirname(path));
  if (kind === 'directory') makeDirectory(parent, basename(path), mode);
  else makeFile(parent, basename(path));
}

/** Makes a directory with those above it. Close it. */
function makeDirectoryAt(tree: Handle, path: string): Handle {
  const there = openDirectoryAt(tree, path);
  if (there) return there;
  makeMountPointAt(tree, path, { kind: 'directory' });
  const made = openDirectoryAt(tree, path);
  if (!made) throw new Error(`${tree.path}/${path} vanished`);
  return made;
}

/**
 * Removes what is at a path, with all that is below, and then the directories above it up to one that is in use. The kernel
 * takes what is mounted there away in every mount namespace, reachable or not, locked or not.
 * @param upTo the directory that stays in any case
 * @throws SyscallError
 */
export function removeMountPointAt(tree: Handle, path: string, upTo: string): void {
  for (let at = path; at !== upTo && at !== '.' && at !== ''; at = dirname(at)) {
    using parent = openDirectoryAt(tree, dirname(at) === '.' ? '' : dirname(at));
    if (!parent) continue;
    if (at === path) removeWhole(parent, basename(at));
    else if (!removeIfEmpty(parent, basename(at))) return;
  }
}

/** Removes everything from a tree. @throws SyscallError */
export function emptyTree(tree: Handle): void {
  using root = openDirectoryAt(tree, '');
  if (root) for (const name of entriesOf(root)) removeWhole(root, name);
}

function removeWhole(parent: Handle, name: string): void {
  using directory = openIfDirectory(parent, name);
  if (!directory) {
    removeFileFrom(parent, name);
    return;
  }
  for (const entry of entriesOf(directory)) removeWhole(directory, entry);
  removeDirectory(parent, name);
}

function openIfDirectory(parent: Handle, name: string): Handle | undefined {
  try {
    return openDirectoryAt(parent, name);
  } catch (error) {
    if (failedWith(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}

function removeIfEmpty(parent: Handle, name: string): boolean {
  try {
    removeDirectory(parent, name);
    return true;
  } catch (error) {
    if (failedWith(error, 'ENOTEMPTY')) return false;
    throw error;
  }
}
