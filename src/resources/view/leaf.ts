import { basename, dirname } from 'node:path';
import { NotYetError } from '../../errors.ts';
import { type Handle, openMountedBeneath } from '../../linux/handle.ts';
import { O } from '../../linux/libc.ts';
import {
  ATTRIBUTE,
  attach,
  cloneMount,
  cloneMountIn,
  cloneTree,
  cloneTreeIn,
  PROPAGATION,
  setMountAttributes,
} from '../../linux/mount.ts';
import { isShared } from '../../linux/selinux.ts';
import { isDirectory, type Stat, stat, statIn } from '../../linux/stat.ts';
import { makeMountPointAt } from './mount-points.ts';
import { clearStage, stage } from './stage.ts';

/** Where a file or directory of the host's is. */
export interface Source {
  /** Itself, or the directory that it has its name in. */
  readonly source: Handle;
  /**
   * The name in the directory, of what Nomad mounts and unmounts: that is never opened, since a descriptor makes umount(2) fail
   * with EBUSY. It tries secrets/ once, and then mount and directory stay until the host is restarted; a volume again after a second or more.
   */
  readonly name?: string;
}

/** A file or directory of the host's that a user is shown at the same path. */
export interface Leaf extends Source {
  /** Canonical. */
  readonly path: string;
  readonly isReadOnly: boolean;
  /** `mapped`: what lies on disk as id 0 is seen as that of the root of the user's containers, and so on. */
  readonly ids: 'plain' | 'mapped';
  /** Whether what is mounted in it is shown too. */
  readonly isTree: boolean;
  /**
   * Whether it is part of the leaf that it is mounted in: they arrive together, so that the kernel lets nobody take it off
   * that one. Without it users who share a directory could lead one another's Podman away by its name.
   */
  readonly isPart: boolean;
  /** False where her Podman itself looks up names, outside of a container, that containers or tasks of other drivers can replace. */
  readonly followsSymlinks: boolean;
}

/** Whether a leaf is mounted in another one. */
export function isIn({ path }: Leaf, outer: Leaf): boolean {
  return path.startsWith(`${outer.path}/`);
}

/** Of what is shown, as it is on the host; undefined where that is gone. @throws SyscallError */
export function statusOf({ source, name }: Source): Stat | undefined {
  return name === undefined ? stat(source) : statIn(source, name);
}

/** What kind of mount point a leaf needs. */
export function kindOf(leaf: Leaf): 'directory' | 'file' {
  const status = statusOf(leaf);
  return !status || isDirectory(status) ? 'directory' : 'file';
}

/**
 * A detached mount of what is shown, without what is mounted in it, for looking at its files and for changing them: with it one
 * can hold them open and Nomad can unmount its own mount all the same.
 * @throws SyscallError
 */
export function cloneSource({ source, name }: Source): Handle {
  return name === undefined ? cloneMount(source) : cloneMountIn(source, name);
}

/** Whether something lacks the label that containers share. @throws SyscallError */
export function lacksLabel(source: Source): boolean {
  if (source.name === undefined) return !isShared(source.source);
  using file = cloneSource(source);
  return !isShared(file);
}

/**
 * A detached mount of a leaf, with the attributes that it is to have.
 * @param map has its ids mapped
 * @throws SyscallError
 */
export function cloneLeaf(leaf: Leaf, map: (mount: Handle) => void): Handle {
  const { isReadOnly, ids, isTree, followsSymlinks } = leaf;
  const clone = isTree ? cloneWhole(leaf) : cloneSource(leaf);
  try {
    const more = (isReadOnly ? ATTRIBUTE.RDONLY : 0) | (followsSymlinks ? 0 : ATTRIBUTE.NOSYMFOLLOW);
    const attributes = ATTRIBUTE.NOSUID | ATTRIBUTE.NODEV | more;
    // Not a slave of the host's: what is mounted there later would arrive without these attributes.
    setMountAttributes(clone, attributes, PROPAGATION.PRIVATE);
    if (ids === 'mapped') map(clone);
    return clone;
  } catch (error) {
    clone.close();
    throw error;
  }
}

/** With what is mounted in it. */
function cloneWhole({ source, name }: Source): Handle {
  return name === undefined ? cloneTree(source) : cloneTreeIn(source, name);
}

/** A detached mount and where it is to be mounted. */
export interface LeafMount {
  readonly leaf: Leaf;
  readonly clone: Handle;
}

/**
 * Mounts a leaf, with the parts of it already mounted in it, at a mount point below a directory of the view namespace.
 * @param path of the mount point from there on
 * @throws NotYetError `mount_point_taken`; SyscallError
 */
export function mountWhole(
  directory: Handle,
  path: string,
  { leaf, clone }: LeafMount,
  parts: readonly LeafMount[],
): void {
  if (parts.length === 0) {
    mountAt(directory, path, { leaf, clone });
    return;
  }
  clearStage();
  try {
    using staged = stage(clone);
    for (const part of parts) mountAt(staged, part.leaf.path.slice(leaf.path.length + 1), part);
    using whole = cloneTree(staged);
    mountAt(directory, path, { leaf, clone: whole });
  } finally {
    clearStage();
  }
}

/**
 * Mounts a leaf at its mount point. One in another leaf lies on disk where the user can write, so that it may have become
 * anything: it is made where it is missing, resolved beneath the directory without symlinks, and used by its descriptor. Whatever
 * she makes of it meanwhile, the mount ends up in what she can write to, in the view namespace.
 * @throws as mountWhole
 */
function mountAt(directory: Handle, path: string, { leaf, clone }: LeafMount): void {
  using parent = openMountedBeneath(directory, dirname(path), O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  if (parent) makeMountPointAt(parent, basename(path), { kind: kindOf(leaf) });
  using point = parent && openMountedBeneath(parent, basename(path));
  if (point && isDirectory(stat(point)) === (kindOf(leaf) === 'directory')) {
    attach(clone, point);
    return;
  }
  const message = `${leaf.path} cannot be shown: a container of the allocation has put something else there`;
  throw new NotYetError('mount_point_taken', message);
}
