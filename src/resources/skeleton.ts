import { basename, dirname, join } from 'node:path';
import { entriesOf, makeDirectories } from '../linux/directory.ts';
import { type Handle, openAbsolute, openAbsoluteIfThere, openBeneathIfThere } from '../linux/handle.ts';
import { O } from '../linux/libc.ts';
import {
  ATTRIBUTE,
  attach,
  cloneTree,
  makeDirectory,
  newTmpfs,
  PROPAGATION,
  removeDirectory,
  setMountAttributes,
  unmountIn,
} from '../linux/mount.ts';
import { readTextIfThere } from '../linux/read-file.ts';
import { isSameFile, stat } from '../linux/stat.ts';
import { removeFile, writeTextWhole } from '../linux/write-file.ts';

/** Directories for 60,000 allocations, and no room for anything else. */
const TMPFS = { size: '64k', nr_inodes: '65536', mode: '0711' };
const DIRECTORY_MODE = 0o711;
/** PATH_MAX, limits.h. */
const MOST_PATH = 4096;

/**
 * The skeletons of the users' views: for each user a tiny tmpfs of root's, with an empty directory for each of her
 * allocations, at `<state_dir>/views/<uid>` on the host. A clone of it covers the data dir in the user's Podman. Since
 * the host has the same filesystem, directories are made and removed here, by paths that no user can steer, and a
 * directory seen in the user's mount namespace is known to be ours by its inode. Removing one here takes away whatever
 * is mounted on it in every mount namespace, reachable or not.
 */
export class Skeletons {
  readonly #root: string;

  constructor(stateDir: string) {
    this.#root = join(stateDir, 'views');
  }

  /** The uids that have a skeleton. */
  uids(): number[] {
    using root = openAbsoluteIfThere(this.#root, O.RDONLY | O.DIRECTORY);
    return root
      ? entriesOf(root)
          .filter((name) => /^\d+$/.test(name))
          .map(Number)
      : [];
  }

  /** The root of a user's skeleton; undefined where there is none mounted. */
  open(uid: number): Handle | undefined {
    using root = openAbsoluteIfThere(this.#root);
    if (!root) return undefined;
    const skeleton = openAbsoluteIfThere(join(this.#root, String(uid)), O.RDONLY | O.DIRECTORY);
    if (skeleton && stat(skeleton).dev !== stat(root).dev) return skeleton;
    skeleton?.close();
    return undefined;
  }

  /** The directory that a user's skeleton covers; undefined where there is none, or it was not written down. */
  coverOf(uid: number): string | undefined {
    using skeleton = this.open(uid);
    return skeleton && readTextIfThere(this.#coverFile(uid), MOST_PATH);
  }

  /**
   * The root of a user's skeleton, made where there is none.
   * @param cover the directory that it covers from then on: its places are at paths from there, and are to be found again
   */
  make(uid: number, cover: string): Handle {
    const there = this.open(uid);
    if (there) return there;
    const path = join(this.#root, String(uid));
    makeDirectories(path, 0o700);
    writeTextWhole(this.#coverFile(uid), cover);
    using directory = openAbsolute(path);
    using tmpfs = newTmpfs(TMPFS, ATTRIBUTE.NOSUID | ATTRIBUTE.NODEV | ATTRIBUTE.NOEXEC);
    attach(tmpfs, directory);
    return openAbsolute(path, O.RDONLY | O.DIRECTORY);
  }

  /** Takes a user's skeleton off the host. */
  remove(uid: number): void {
    using root = openAbsoluteIfThere(this.#root);
    if (!root) return;
    unmountIn(root, String(uid));
    removeDirectory(root, String(uid));
    removeFile(this.#coverFile(uid));
  }

  #coverFile(uid: number): string {
    return join(this.#root, `${uid}.cover`);
  }

  /** A detached copy of a user's skeleton, ready to cover something: read by all, changed by nobody but us. */
  clone(skeleton: Handle): Handle {
    const tree = cloneTree(skeleton);
    setMountAttributes(tree, ATTRIBUTE.NOSUID | ATTRIBUTE.NODEV | ATTRIBUTE.NOEXEC, PROPAGATION.PRIVATE);
    return tree;
  }
}

/** The directory at a relative path in a skeleton; undefined where it is not there. */
export function openDirectory(skeleton: Handle, path: string): Handle | undefined {
  if (path === '') return openBeneathIfThere(skeleton, '.', O.RDONLY | O.DIRECTORY);
  return openBeneathIfThere(skeleton, path, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
}

/** Makes the directory at a relative path in a skeleton, with those above it. */
export function makeDirectoryAt(skeleton: Handle, path: string): Handle {
  const there = openDirectory(skeleton, path);
  if (there) return there;
  const above = dirname(path) === '.' ? '' : dirname(path);
  using parent = makeDirectoryAt(skeleton, above);
  makeDirectory(parent, basename(path), DIRECTORY_MODE);
  const made = openDirectory(skeleton, path);
  if (!made) throw new Error(`${skeleton.path}/${path} vanished`);
  return made;
}

/** Whether two handles are of the same directory. */
export function isSameDirectory(a: Handle, b: Handle): boolean {
  return isSameFile(stat(a), stat(b));
}
