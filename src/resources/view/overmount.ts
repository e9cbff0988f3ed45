import { basename, dirname } from 'node:path';
import { failedWith, NotYetError } from '../../errors.ts';
import { type Handle, openAbsolute, openCached } from '../../linux/handle.ts';
import {
  ATTRIBUTE,
  attach,
  cloneMount,
  cloneTree,
  newTmpfs,
  PROPAGATION,
  setMountAttributes,
  unmountIn,
} from '../../linux/mount.ts';
import { inMountNamespace } from '../../linux/mount-namespace.ts';
import { isSameFile, type Stat, stat } from '../../linux/stat.ts';
import { clearStage, openStage, stage } from './stage.ts';
import type { UserTrees } from './user-trees.ts';
import type { ViewNamespace } from './view-namespace.ts';

const LOWER_TMPFS = { size: '4k', nr_inodes: '2', mode: '0711' };

/**
 * Mounts a user's tree over a directory in one of her Podman's mount namespaces. Not directly: the kernel locks the
 * attributes of mounts only where they arrive there by propagation, out of a mount namespace that is not the user's. So an empty
 * mount goes there first, which is the slave of one in the view namespace; then the tree is mounted on that one, and arrives
 * whole. It stays a slave of the tree: what is mounted in the tree from then on arrives there as well.
 *
 * In her mount namespace nothing is believed: a path is resolved from the dentry cache alone, and what it leads to is used
 * only if it is the file that the host knows.
 * @param path of the directory, canonical
 * @throws NotYetError `view_blocked`, `view_unreadable`; SyscallError
 */
export function overmount(namespace: ViewNamespace, trees: UserTrees, uid: number, mount: Handle, path: string): void {
  using directory = openAbsolute(path);
  using above = openAbsolute(dirname(path));
  const parentOnHost = stat(above);
  namespace.enter(clearStage);
  try {
    using lower = namespace.enter(stageLower);
    if (!lower) throw new NotYetError('view_gone', 'the view namespace is gone');
    inMountNamespace(mount, () => {
      if (!uncoverDownTo(directory, path, parentOnHost)) throw blocked(path);
      using point = openCached(path);
      if (!point || !isSameFile(stat(point), stat(directory))) throw blocked(path);
      attach(lower, point);
    });
    trees.in(uid, (root) => {
      using staged = openStage();
      using tree = cloneTree(root);
      attach(tree, staged);
    });
  } finally {
    namespace.enter(clearStage);
  }
}

/** @returns a slave of what is staged */
function stageLower(): Handle {
  using lower = newTmpfs(LOWER_TMPFS, ATTRIBUTE.RDONLY);
  setMountAttributes(lower, 0, PROPAGATION.SHARED);
  using staged = stage(lower);
  const slave = cloneMount(staged);
  setMountAttributes(slave, 0, PROPAGATION.SLAVE);
  return slave;
}

/** What a path leads to in the current mount namespace; undefined where it leads nowhere. */
export function statCached(path: string, flags?: number): Stat | undefined {
  using handle = openCached(path, flags);
  try {
    return handle && stat(handle);
  } catch (error) {
    // A filesystem of the user's own, which does not let even root look: nothing of ours.
    if (failedWith(error, 'EACCES')) return undefined;
    throw error;
  }
}

/** Only from the directory that the host knows: going into one of a filesystem that the user made could hang. */
function unmountAt(path: string, parentOnHost: Stat): boolean {
  using parent = openCached(dirname(path));
  return parent !== undefined && isSameFile(stat(parent), parentOnHost) && unmountIn(parent, basename(path));
}

/** How many mounts of ours can lie over one another: two are left behind each time a user's Podman was out of reach. */
const MOST_MOUNTS = 16;

/**
 * Makes a directory the one that is seen at a path, taking off what lies over it if that is root's: a tree of an earlier
 * time. What the user herself has mounted there stays; then the answer is false.
 * @param parentOnHost of the directory above the path, as the host sees it
 */
export function uncoverDownTo(directory: Handle, path: string, parentOnHost: Stat): boolean {
  for (let mounts = 0; mounts <= MOST_MOUNTS; mounts++) {
    using point = openCached(path);
    if (!point) return false;
    if (isSameFile(stat(directory), stat(point))) return true;
    if (stat(point).uid !== 0 || !unmountAt(path, parentOnHost)) return false;
  }
  return false;
}

/** Why a user cannot be shown anything. */
function blocked(path: string): NotYetError {
  const remedy = "unmount it, or restart the user's Podman with: podman system migrate";
  return new NotYetError(
    'view_blocked',
    `something is mounted over ${path} in the mount namespace of the user's Podman; ${remedy}`,
  );
}
