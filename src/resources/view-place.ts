import { basename, dirname, join, relative } from 'node:path';
import { NotYetError, RefusedError } from '../errors.ts';
import { type Handle, openAbsolute, openCached } from '../linux/handle.ts';
import { SyscallError } from '../linux/libc.ts';
import { ATTRIBUTE, attach, cloneTree, PROPAGATION, removeDirectory, setMountAttributes } from '../linux/mount.ts';
import { inMountNamespace } from '../linux/mount-namespace.ts';
import { isSameFile, stat } from '../linux/stat.ts';
import { blocked, coverFor, statCached, uncoverDownTo } from './cover.ts';
import type { DataDir } from './data-dir.ts';
import type { PodmanNamespace } from './podman-process.ts';
import { isSameDirectory, makeDirectoryAt, openDirectory, type Skeletons } from './skeleton.ts';

/** `stale`: an earlier directory of that path, or one that lacks a mount made since. */
export type Observed = 'mounted' | 'missing' | 'stale';

/**
 * Places in the users' skeletons: each a directory that stands for one of the host's at the same path, with that one
 * mounted over it in the mount namespaces of the user's Podman.
 *
 * In the user's mount namespace nothing is believed: a path is walked from the dentry cache alone, and what it leads
 * to is used only if it is the inode that the host knows, the covered directory's or one of the skeleton's.
 */
export class ViewPlaces {
  readonly #dataDir: DataDir;
  readonly #skeletons: Skeletons;

  constructor(dataDir: DataDir, skeletons: Skeletons) {
    this.#dataDir = dataDir;
    this.#skeletons = skeletons;
  }

  /**
   * What a user's Podman finds at the path of a directory of the host's.
   * @param isComplete asked in that mount namespace, where the directory is the one: whether what has to be mounted in it is
   */
  observe({ mount }: PodmanNamespace, uid: number, directory: Handle, isComplete: () => boolean): Observed {
    const expected = stat(directory);
    using skeleton = this.#skeletons.open(uid);
    if (!skeleton) return 'missing';
    const cover = this.#coverToUse(uid);
    const skeletonRoot = stat(skeleton);
    // Asked of the host first: what is not there is not in the dentry cache either.
    using place = openDirectory(skeleton, this.#placeOf(directory.path, cover));
    if (!place) return 'missing';
    return inMountNamespace(mount, () => {
      const point = statCached(cover);
      if (!point || !isSameFile(point, skeletonRoot)) return 'missing';
      const seen = statCached(directory.path);
      if (!seen || seen.dev === skeletonRoot.dev) return 'missing';
      if (!isSameFile(seen, expected)) return 'stale';
      return isComplete() ? 'mounted' : 'stale';
    });
  }

  /** Shows a directory of the host's, with all that is mounted in it, to a user's Podman. @throws NotYetError `view_blocked` */
  mount({ mount }: PodmanNamespace, uid: number, directory: Handle): void {
    const cover = this.#coverToUse(uid);
    using skeleton = this.#skeletons.make(uid, cover);
    using place = makeDirectoryAt(skeleton, this.#placeOf(directory.path, cover));
    using covered = openAbsolute(cover);
    using aboveCover = openAbsolute(dirname(cover));
    const above = stat(aboveCover);
    using skeletonTree = this.#skeletons.clone(skeleton);
    using tree = cloneTree(directory);
    setMountAttributes(tree, ATTRIBUTE.NOSUID | ATTRIBUTE.NODEV, PROPAGATION.SLAVE);
    inMountNamespace(mount, () => {
      if (!uncoverDownTo([covered, skeleton], cover, above)) throw blocked(cover);
      using point = openCached(cover);
      if (point && isSameDirectory(point, covered)) attach(skeletonTree, point);
      using target = openCached(directory.path);
      if (!target || !isSameDirectory(target, place)) throw blocked(directory.path);
      attach(tree, target);
    });
  }

  /** The place for a path in a user's skeleton; undefined where there is none. */
  open(uid: number, path: string): Handle | undefined {
    using skeleton = this.#skeletons.open(uid);
    const place = relative(this.coverOf(uid), path);
    return skeleton && !isOutside(place) ? openDirectory(skeleton, place) : undefined;
  }

  /** Takes a place away, and with it what is mounted there in every mount namespace; also those above it, up to one that is in use. */
  remove(uid: number, path: string, upTo: string): void {
    for (let at = path; at !== upTo && at !== '/'; at = dirname(at)) {
      using parent = this.open(uid, dirname(at));
      if (!parent) continue;
      try {
        removeDirectory(parent, basename(at));
      } catch (error) {
        if (error instanceof SyscallError && error.is('ENOTEMPTY')) return;
        throw error;
      }
    }
  }

  /** The directory that a user's skeleton covers, or would. */
  coverOf(uid: number): string {
    return this.#skeletons.coverOf(uid) ?? coverFor(this.#dataDir, uid);
  }

  /** A skeleton stays where it is when the directories above get other permissions, as long as its user gets to it. */
  #coverToUse(uid: number): string {
    const cover = this.coverOf(uid);
    const shut = coverFor(this.#dataDir, uid);
    if (shut === cover || isOutside(relative(shut, cover))) return cover;
    const message = `${shut} has been shut to uid ${uid} since allocations were shown to her below ${cover}; open it again, or stop her allocations on this node`;
    throw new NotYetError('view_shut_off', message);
  }

  #placeOf(path: string, cover: string): string {
    const place = relative(cover, path);
    if (!isOutside(place)) return place;
    const remedy = `shut the data dir: chmod 0700 ${join(this.#dataDir.allocDir, '..')}`;
    const message = `${path} cannot be shown: users can enter directories above it, down to ${cover}, but not itself; ${remedy}`;
    throw new RefusedError('outside_of_view', message);
  }
}

function isOutside(place: string): boolean {
  return place === '..' || place.startsWith('../');
}
