import { dirname } from 'node:path';
import { NotYetError } from '../errors.ts';
import { entriesOf } from '../linux/directory.ts';
import { type Handle, openAbsolute, openMountedBeneath } from '../linux/handle.ts';
import { inMountNamespace } from '../linux/mount-namespace.ts';
import { isSameFile, type Stat, stat } from '../linux/stat.ts';
import { isAllocationId } from '../model/allocation.ts';
import type { Access, Desired } from '../model/desired.ts';
import { statCached, uncoverDownTo } from './cover.ts';
import type { DataDir } from './data-dir.ts';
import type { PodmanNamespaces, PodmanOwner } from './podman-namespaces.ts';
import type { PodmanNamespace } from './podman-process.ts';
import type { Resource, Step } from './resource.ts';
import type { Skeletons } from './skeleton.ts';
import { type Observed, ViewPlaces } from './view-place.ts';

/** Submounts that Nomad makes in a task directory (client/allocdir); they must be seen through the view too. */
const TASK_MOUNTS = ['secrets', 'private'];

/**
 * The private view: the allocation's directory, bind-mounted into the mount namespaces of the user's Podman, at the
 * path that the driver names. The data dir itself stays shut: there, and only there, a skeleton covers the first
 * directory that the user cannot enter.
 */
export class ViewResource implements Resource {
  readonly kind = 'view';
  readonly #dataDir: DataDir;
  readonly #skeletons: Skeletons;
  readonly #places: ViewPlaces;
  readonly #namespaces: PodmanNamespaces;
  readonly #owners: () => readonly PodmanOwner[];

  /** @param owners the users that have a gate */
  constructor(
    dataDir: DataDir,
    skeletons: Skeletons,
    namespaces: PodmanNamespaces,
    owners: () => readonly PodmanOwner[],
  ) {
    this.#dataDir = dataDir;
    this.#skeletons = skeletons;
    this.#places = new ViewPlaces(dataDir, skeletons);
    this.#namespaces = namespaces;
    this.#owners = owners;
  }

  async plan(desired: Desired): Promise<Step[]> {
    if (desired.kind === 'refused') return [];
    const wanted = desired.kind === 'access' ? desired.podman : [];
    const steps = await Promise.all(wanted.map((user) => this.#planMounts(desired.id, user)));
    const gone = this.#skeletons.uids().filter((uid) => !wanted.some((user) => user.uid === uid));
    return [...steps.flat(), ...gone.flatMap((uid) => this.#planRemoval(desired.id, uid))];
  }

  /**
   * Steps against what a kill between two steps leaves: skeletons without an allocation, and covers that were left on
   * the data dir in a user's mount namespace after the skeleton went.
   */
  planSweep(): Step[] {
    const empty = this.#skeletons.uids().filter((uid) => this.#allocationIdsOf(uid).length === 0);
    const covered = this.#owners()
      .map((owner) => owner.uid)
      .filter((uid) => this.#hasStrayCover(uid));
    return [...new Set([...empty, ...covered])].map((uid) => {
      const what = `the cover of the data dir, which no allocation needs, from the mount namespaces of uid ${uid}`;
      return { kind: this.kind, what, removes: true, apply: () => this.#removeSkeleton(uid) };
    });
  }

  /** The ids of all allocations that have a place in somebody's view. */
  allocationIds(): string[] {
    return this.#skeletons.uids().flatMap((uid) => this.#allocationIdsOf(uid));
  }

  #allocationIdsOf(uid: number): string[] {
    using holder = this.#places.open(uid, this.#dataDir.allocDir);
    return holder ? entriesOf(holder).filter(isAllocationId) : [];
  }

  async #planMounts(id: string, user: Access): Promise<Step[]> {
    const owner = this.#ownerOf(user.uid);
    if (!owner) return [];
    const namespaces = await this.#namespaces.of(owner);
    using directory = this.#dataDir.open(id);
    if (!directory) return [];
    const found = namespaces.map((namespace) => ({ namespace, state: this.#observe(namespace, directory, user) }));
    const steps = found
      .filter(({ state }) => state !== 'mounted')
      .map(({ namespace }): Step => {
        const what = `${directory.path} into the mount namespace of ${user.name}'s process ${namespace.pid}`;
        return { kind: this.kind, what, removes: false, apply: () => this.#mount(namespace, id, user.uid) };
      });
    return found.some(({ state }) => state === 'stale') ? [...this.#planRemoval(id, user.uid, true), ...steps] : steps;
  }

  #observe(namespace: PodmanNamespace, directory: Handle, user: Access): Observed {
    const expected = stat(directory);
    const submounts = user.tasks.flatMap((task) => submountsOf(directory, task, expected));
    return this.#places.observe(namespace, user.uid, directory, () =>
      submounts.every(({ path, status }) => {
        const there = statCached(path);
        return there !== undefined && isSameFile(there, status);
      }),
    );
  }

  #mount(namespace: PodmanNamespace, id: string, uid: number): void {
    using directory = this.#dataDir.open(id);
    if (!directory) throw new NotYetError('no_allocation_dir', `${this.#dataDir.allocDir}/${id} is gone`);
    this.#places.mount(namespace, uid, directory);
  }

  /** `again`: the view is about to be mounted anew, so the cover stays. */
  #planRemoval(id: string, uid: number, again = false): Step[] {
    const path = `${this.#dataDir.allocDir}/${id}`;
    using place = this.#places.open(uid, path);
    // A skeleton without any place is one that could not be taken away with its last one.
    if (!this.#skeletons.uids().includes(uid) || (!place && this.#allocationIdsOf(uid).length > 0)) return [];
    const what = `${path} from the mount namespaces of uid ${uid}`;
    return [{ kind: this.kind, what, removes: true, apply: () => this.#remove(id, uid, again) }];
  }

  #remove(id: string, uid: number, again: boolean): void {
    const { allocDir } = this.#dataDir;
    this.#places.remove(uid, `${allocDir}/${id}`, allocDir);
    if (!again && this.#allocationIdsOf(uid).length === 0) this.#removeSkeleton(uid);
  }

  #removeSkeleton(uid: number): void {
    using covered = openAbsolute(this.#places.coverOf(uid));
    const above = statOnHost(dirname(covered.path));
    this.#namespaces.visitAll(uid, ({ mount }) =>
      inMountNamespace(mount, () => uncoverDownTo([covered], covered.path, above)),
    );
    this.#skeletons.remove(uid);
  }

  #hasStrayCover(uid: number): boolean {
    if (this.#skeletons.uids().includes(uid)) return false;
    using covered = openAbsolute(this.#places.coverOf(uid));
    const expected = stat(covered);
    let found = false;
    this.#namespaces.visitAll(uid, ({ mount }) => {
      const seen = inMountNamespace(mount, () => statCached(covered.path));
      found ||= seen !== undefined && !isSameFile(seen, expected) && seen.uid === 0;
    });
    return found;
  }

  #ownerOf(uid: number): PodmanOwner | undefined {
    return this.#owners().find((owner) => owner.uid === uid);
  }
}

function submountsOf(directory: Handle, task: string, root: Stat): { path: string; status: Stat }[] {
  return TASK_MOUNTS.flatMap((name) => {
    using submount = openMountedBeneath(directory, `${task}/${name}`);
    const status = submount && stat(submount);
    return status && status.dev !== root.dev ? [{ path: submount.path, status }] : [];
  });
}

function statOnHost(path: string): Stat {
  using handle = openAbsolute(path);
  return stat(handle);
}
