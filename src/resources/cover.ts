import { basename, dirname } from 'node:path';
import { NotYetError } from '../errors.ts';
import { type Handle, openCached } from '../linux/handle.ts';
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
  return handle && stat(handle);
}

function unmountAt(path: string): void {
  using parent = openCached(dirname(path));
  if (parent) unmountIn(parent, basename(path));
}

/** How many covers of ours can lie over one another: one is left behind each time a user's Podman was out of reach. */
const MOST_COVERS = 4;

/**
 * Makes one of these directories the one that is seen at a path, taking off what lies over it if that is root's: a
 * skeleton of an earlier time. What the user herself has mounted there stays; then the answer is false.
 */
export function uncoverDownTo(expected: readonly Handle[], path: string): boolean {
  for (let covers = 0; covers <= MOST_COVERS; covers++) {
    using point = openCached(path);
    if (!point) return false;
    if (expected.some((directory) => isSameFile(stat(directory), stat(point)))) return true;
    if (stat(point).uid !== 0) return false;
    unmountAt(path);
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
