import { basename, dirname } from 'node:path';
import { NotYetError } from '../errors.ts';
import { type Handle, openCached } from '../linux/handle.ts';
import { SyscallError } from '../linux/libc.ts';
import { unmountIn } from '../linux/mount.ts';
import { isSameFile, type Stat, stat } from '../linux/stat.ts';
import { permissionsOf } from '../model/acl.ts';
import type { DataDir } from './data-dir.ts';
import { readAcl } from './marked-acl.ts';

const EXECUTE = 1;

/**
 * The directory that a user's skeleton covers: the first one on the way to the allocations that the user cannot enter;
 * where there is none, the one that holds the allocations.
 */
export function coverFor(dataDir: DataDir, uid: number): string {
  const shut = dataDir.ancestors().find((path) => {
    using directory = dataDir.openAncestor(path);
    return (permissionsOf(readAcl(directory), uid) & EXECUTE) === 0;
  });
  return shut ?? dataDir.allocDir;
}

/** What a path leads to in the current mount namespace; undefined where it leads nowhere. */
export function statCached(path: string): Stat | undefined {
  using handle = openCached(path);
  try {
    return handle && stat(handle);
  } catch (error) {
    // A filesystem of the user's own, which does not let even root look: nothing of ours.
    if (error instanceof SyscallError && error.is('EACCES')) return undefined;
    throw error;
  }
}

/** Only from the directory that the host knows: going into one of a filesystem that the user made could hang. */
function unmountAt(path: string, parentOnHost: Stat): boolean {
  using parent = openCached(dirname(path));
  return parent !== undefined && isSameFile(stat(parent), parentOnHost) && unmountIn(parent, basename(path));
}

/** How many covers of ours can lie over one another: one is left behind each time a user's Podman was out of reach. */
const MOST_COVERS = 4;

/**
 * Makes one of these directories the one that is seen at a path, taking off what lies over it if that is root's: a
 * skeleton of an earlier time. What the user herself has mounted there stays; then the answer is false.
 * @param parentOnHost of the directory above the path, as the host sees it
 */
export function uncoverDownTo(expected: readonly Handle[], path: string, parentOnHost: Stat): boolean {
  for (let covers = 0; covers <= MOST_COVERS; covers++) {
    using point = openCached(path);
    if (!point) return false;
    if (expected.some((directory) => isSameFile(stat(directory), stat(point)))) return true;
    if (stat(point).uid !== 0 || !unmountAt(path, parentOnHost)) return false;
  }
  return false;
}

/** Why a view cannot be placed. */
export function blocked(path: string): NotYetError {
  const remedy = "unmount it, or restart the user's Podman with: podman system migrate";
  return new NotYetError(
    'view_blocked',
    `something is mounted over ${path} in the mount namespace of the user's Podman; ${remedy}`,
  );
}
