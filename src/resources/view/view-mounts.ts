import { dirname, join, relative } from 'node:path';
import { codeOf, failedWith, NotYetError, RefusedError } from '../../errors.ts';
import { entriesOf } from '../../linux/directory.ts';
import { type Handle, openAbsolute, openMountedBeneath } from '../../linux/handle.ts';
import { O } from '../../linux/libc.ts';
import { mapIds } from '../../linux/mount.ts';
import { inMountNamespace } from '../../linux/mount-namespace.ts';
import { isSameFile, stat } from '../../linux/stat.ts';
import { isAllocationId } from '../../model/allocation.ts';
import type { DataDir } from '../data-dir.ts';
import type { PodmanNamespaces } from '../podman-namespaces.ts';
import type { PodmanNamespace } from '../podman-process.ts';
import { cloneLeaf, isIn, kindOf, type Leaf, type LeafMount, mountWhole, type Source, statusOf } from './leaf.ts';
import {
  DIRECTORY_MODE,
  makeMountPointAt,
  openDirectoryAt,
  READ_ONLY_MODE,
  removeMountPointAt,
} from './mount-points.ts';
import { overmount, statCached, uncoverDownTo } from './overmount.ts';
import type { TreeNote, UserTrees } from './user-trees.ts';
import type { ViewNamespace } from './view-namespace.ts';

/** `stale`: something else than the source is mounted there, such as an earlier directory of the same path. */
type State = 'there' | 'missing' | 'stale';

/** What of a user's is not as it should be. */
interface Lacking {
  readonly leaves: readonly Leaf[];
  /** The mount namespaces of her Podman in which not everything is seen. */
  readonly namespaces: readonly PodmanNamespace[];
}

/** Each secrets/ is a filesystem of its own: a bound for what is remembered. */
const MOST_UNMAPPABLE = 10_000;

/** What the mounts of all users are made with. */
interface ViewMountsOptions {
  readonly dataDir: DataDir;
  readonly namespace: ViewNamespace;
  readonly trees: UserTrees;
  readonly namespaces: PodmanNamespaces;
}

/** Shows users files and directories of the host's: mounts them in the user's tree, and the tree over the data dir. */
export class ViewMounts {
  readonly #options: ViewMountsOptions;
  /** As major:minor. */
  readonly #unmappable = new Set<string>();

  constructor(options: ViewMountsOptions) {
    this.#options = options;
  }

  /** Whether mounts of the filesystem that something is on could not be made to map ids. */
  isUnmappable(source: Source): boolean {
    return this.#unmappable.has(statusOf(source)?.dev ?? '');
  }

  /** Whether that was so of any. */
  get hasUnmappable(): boolean {
    return this.#unmappable.size > 0;
  }

  /** What is missing or stale of what a user is to be shown. @param leaves those that others are mounted in before these */
  observe(uid: number, leaves: readonly Leaf[], namespaces: readonly PodmanNamespace[]): Lacking {
    const note = this.#options.trees.get(uid)?.note;
    if (note) this.#refuseShutOff(uid, note);
    if (!note || note.idMap !== idMapOf(namespaces)) return { leaves, namespaces };
    const states = this.#states(uid, note, leaves);
    const there = leaves.filter((_, index) => states[index] === 'there');
    return {
      leaves: leaves.filter((_, index) => states[index] !== 'there'),
      namespaces: namespaces.filter(({ mount }) => !this.#isSeen(uid, note, there, mount)),
    };
  }

  /** Mounts what is missing or stale of these in the user's tree. @throws RefusedError `outside_of_view`; SyscallError */
  show(uid: number, leaves: readonly Leaf[], namespaces: readonly [PodmanNamespace, ...PodmanNamespace[]]): void {
    const note = this.#makeTree(uid, namespaces);
    for (const leaf of leaves) this.#placeOf(leaf.path, note.overmounts);
    this.#removeStale(uid, note, leaves);
    const missing = this.#withState('missing', uid, note, leaves);
    const isInner = (leaf: Leaf) => leaves.some((outer) => isIn(leaf, outer));
    const tmpfs = this.#options.trees.get(uid)?.tmpfs;
    for (const leaf of missing) {
      if (!tmpfs || isInner(leaf)) continue;
      const mode = leaf.isReadOnly ? READ_ONLY_MODE : DIRECTORY_MODE;
      makeMountPointAt(tmpfs, this.#placeOf(leaf.path, note.overmounts), { kind: kindOf(leaf), mode });
    }
    using clones = new DisposableStack();
    const mounts = missing.map((leaf): LeafMount => {
      return { leaf, clone: clones.use(cloneLeaf(leaf, (mount) => this.#map(mount, namespaces[0].user))) };
    });
    this.#options.trees.in(uid, (root) => {
      for (const mount of mounts.filter(({ leaf }) => !leaf.isPart)) {
        const parts = mounts.filter(({ leaf }) => leaf.isPart && isIn(leaf, mount.leaf));
        mountWhole(root, this.#placeOf(mount.leaf.path, note.overmounts), mount, parts);
      }
    });
  }

  /** Mounts the user's tree over the data dir in a mount namespace of her Podman. @throws NotYetError `view_blocked`; SyscallError */
  showIn(uid: number, { mount }: PodmanNamespace): void {
    const { namespace, trees } = this.#options;
    const note = trees.get(uid)?.note;
    if (note) overmount(namespace, trees, uid, mount, note.overmounts);
  }

  /** Whether what is mounted at a path in a user's tree is so read-only; undefined where nothing is. */
  isReadOnly(uid: number, path: string): boolean | undefined {
    using point = this.open(uid, path);
    return point && (stat(point).mode & 0o200) === 0;
  }

  /** The directory of a user's tree that stands for one of the host's; undefined where there is none. Close it. */
  open(uid: number, path: string): Handle | undefined {
    const tree = this.#options.trees.get(uid);
    const place = tree && relative(tree.note.overmounts, path);
    return tree && place !== undefined && !isOutside(place) ? openDirectoryAt(tree.tmpfs, place) : undefined;
  }

  /** The ids of the allocations that a user is shown. */
  allocationIds(uid: number): string[] {
    using directory = this.open(uid, this.#options.dataDir.allocDir);
    return directory ? entriesOf(directory).filter(isAllocationId) : [];
  }

  /** How many allocations a user is shown. */
  shownCount(uid: number): number {
    using directory = this.open(uid, this.#options.dataDir.allocDir);
    return directory ? stat(directory).links - 2 : 0;
  }

  /** Takes away what a user is shown at a path and below, and the directories above it up to one that is in use. */
  remove(uid: number, path: string, upTo: string): void {
    const tree = this.#options.trees.get(uid);
    if (!tree) return;
    const { tmpfs, note } = tree;
    removeMountPointAt(tmpfs, relative(note.overmounts, path), relative(note.overmounts, upTo));
  }

  /** Takes away what a user is shown of an allocation, but for plain directories that say whose its tasks are. */
  hide(uid: number, path: string, tasks: readonly string[]): void {
    const tree = this.#options.trees.get(uid);
    if (!tree) return;
    this.remove(uid, path, dirname(path));
    const { tmpfs, note } = tree;
    for (const task of tasks)
      makeMountPointAt(tmpfs, relative(note.overmounts, `${path}/${task}`), { kind: 'directory' });
  }

  /**
   * Takes a user's tree away, and what is left of it in the mount namespaces of her processes; as rmdir(2), only where no
   * allocation is shown in it: one may have been meanwhile.
   */
  async removeTree(uid: number): Promise<void> {
    using all = await this.#options.namespaces.all(uid);
    if (this.shownCount(uid) === 0) this.#removeTreeFrom(uid, all.namespaces);
  }

  /** Whether something of ours lies over the data dir in a mount namespace of a user who has no tree. */
  async isLeftOver(uid: number): Promise<boolean> {
    using directory = openAbsolute(this.overmountsOf(uid));
    const expected = stat(directory);
    using all = await this.#options.namespaces.all(uid);
    return all.namespaces.some(({ mount }) => {
      const seen = ifReadable(() => inMountNamespace(mount, () => statCached(directory.path)));
      return seen !== undefined && !isSameFile(seen, expected) && seen.uid === 0;
    });
  }

  #removeTreeFrom(uid: number, namespaces: readonly Pick<PodmanNamespace, 'mount'>[]): void {
    const path = this.overmountsOf(uid);
    using directory = openAbsolute(path);
    using above = openAbsolute(dirname(path));
    const parentOnHost = stat(above);
    for (const { mount } of namespaces) {
      ifReadable(() => inMountNamespace(mount, () => uncoverDownTo(directory, path, parentOnHost)));
    }
    this.#options.trees.remove(uid);
  }

  /** The directory that a user's tree lies over, or would. */
  overmountsOf(uid: number): string {
    return this.#options.trees.get(uid)?.note.overmounts ?? this.#options.dataDir.overmountFor(uid);
  }

  #makeTree(uid: number, namespaces: readonly PodmanNamespace[]): TreeNote {
    const { trees } = this.#options;
    const idMap = idMapOf(namespaces);
    const there = trees.get(uid)?.note;
    if (there?.idMap === idMap) return there;
    // Her range of subordinate ids is another one now, so that nothing which runs uses what is mounted.
    if (there) this.#removeTreeFrom(uid, namespaces);
    const note = { overmounts: this.#options.dataDir.overmountFor(uid), idMap };
    trees.make(uid, note);
    return note;
  }

  /** The tree stays where it is when the directories above get other permissions, as long as its user gets to it. */
  #refuseShutOff(uid: number, { overmounts }: TreeNote): void {
    const wanted = this.#options.dataDir.overmountFor(uid);
    if (wanted === overmounts || isOutside(relative(wanted, overmounts))) return;
    const message = `${wanted} has been closed to uid ${uid} since allocations were shown to that user below ${overmounts}; open it again, or stop the user's allocations on this node`;
    throw new NotYetError('view_shut_off', message);
  }

  #withState(state: State, uid: number, note: TreeNote, leaves: readonly Leaf[]): Leaf[] {
    const states = this.#states(uid, note, leaves);
    return leaves.filter((_, index) => states[index] === state);
  }

  #states(uid: number, note: TreeNote, leaves: readonly Leaf[]): readonly State[] {
    const sources = leaves.map(statusOf);
    const states = this.#options.trees.in(uid, (root) =>
      leaves.map(({ path }, index): State => {
        using seen = openMountedBeneath(root, this.#placeOf(path, note.overmounts));
        const status = seen && stat(seen);
        const source = sources[index];
        if (!status?.isMountRoot || !source) return 'missing';
        return isSameFile(status, source) ? 'there' : 'stale';
      }),
    );
    return states ?? leaves.map(() => 'missing');
  }

  /** Whether the user sees the tree there, and these that are mounted in it: the user can unmount them, and cut the propagation. */
  #isSeen(uid: number, note: TreeNote, leaves: readonly Leaf[], mount: Handle): boolean {
    const tmpfs = this.#options.trees.get(uid)?.tmpfs;
    const root = tmpfs && stat(tmpfs);
    const sources = leaves.map((leaf) => ({ path: leaf.path, status: statusOf(leaf) }));
    return inMountNamespace(mount, () => {
      const seen = statCached(note.overmounts);
      if (!root || !seen || !isSameFile(seen, root)) return false;
      return sources.every(({ path, status }) => {
        const there = statCached(path, O.PATH | O.NOFOLLOW);
        return there !== undefined && status !== undefined && isSameFile(there, status);
      });
    });
  }

  /** With what is mounted in it, or it is a part of. */
  #removeStale(uid: number, note: TreeNote, leaves: readonly Leaf[]): void {
    const states = this.#states(uid, note, leaves);
    for (const [index, leaf] of leaves.entries()) {
      const outer = leaves.find((other) => isIn(leaf, other));
      const isStale = states[index] === 'stale' || (states[index] === 'missing' && leaf.isPart);
      const { path } = outer ?? leaf;
      if (isStale) this.remove(uid, path, dirname(path));
    }
  }

  #map(clone: Handle, userNamespace: Handle): void {
    try {
      mapIds(clone, userNamespace);
    } catch (error) {
      // The filesystem cannot, or is of a user namespace that is not ours: mount_setattr(2), ERRORS.
      if (!failedWith(error, 'EINVAL', 'EPERM', 'EOPNOTSUPP')) throw error;
      if (this.#unmappable.size < MOST_UNMAPPABLE) this.#unmappable.add(stat(clone).dev);
    }
  }

  #placeOf(path: string, overmounts: string): string {
    const place = relative(overmounts, path);
    if (!isOutside(place)) return place;
    const remedy = `close the data dir: chmod 0700 ${join(this.#options.dataDir.allocDir, '..')}`;
    const message = `${path} cannot be shown: it is not below ${overmounts}, where users are shown their allocations; ${remedy}`;
    throw new RefusedError('outside_of_view', message);
  }
}

/**
 * What cannot be seen without waiting in a mount namespace of a user's is something that the user has mounted on the way. What we
 * mounted there is empty once the tree is, and the rest is the user's own loss.
 */
function ifReadable<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (codeOf(error) === 'view_unreadable') return undefined;
    throw error;
  }
}

/** Of the Podman that counts. */
function idMapOf(namespaces: readonly PodmanNamespace[]): string {
  return namespaces[0]?.idMap ?? '';
}

function isOutside(place: string): boolean {
  return place === '..' || place.startsWith('../');
}
