import { NotYetError, RefusedError } from '../../errors.ts';
import { entriesOf } from '../../linux/directory.ts';
import type { Handle } from '../../linux/handle.ts';
import { SHARED_LABEL, share } from '../../linux/selinux.ts';
import type { Access, Desired } from '../../model/desired.ts';
import type { DataDir } from '../data-dir.ts';
import { ownerOf, type PodmanNamespaces, type PodmanOwner } from '../podman-namespaces.ts';
import type { PodmanNamespace } from '../podman-process.ts';
import type { Resource, Step } from '../resource.ts';
import { isHalfBuilt, openLeaves } from './allocation-leaves.ts';
import { cloneSource, type Leaf, lacksLabel } from './leaf.ts';
import { makeSharedDir, openSharedDir, SHARED_DIR } from './shared-dir.ts';
import type { UserTrees } from './user-trees.ts';
import type { ViewMounts } from './view-mounts.ts';

/** What the resource works with. */
export interface ViewOptions {
  readonly dataDir: DataDir;
  readonly mounts: ViewMounts;
  readonly trees: UserTrees;
  readonly namespaces: PodmanNamespaces;
  /** The users that have a gate. */
  readonly owners: () => readonly PodmanOwner[];
  /** Whether local/ and secrets/ are to show the ids on disk as those of the user's containers. */
  readonly idmap: 'auto' | 'off';
  readonly ordering: 'gate' | 'watch';
  /** How many allocations a user is shown although all their containers have been started. */
  readonly mostShown: number;
  /** Whether leaves get the label that containers share. */
  readonly isSelinuxOn: boolean;
}

type Granted = Desired & { kind: 'access' };

/** Nomad mounts secrets/ a moment after it has made the directory of the task. */
const WATCH_POLL_MS = 5;

const PLAIN_IDS = 'local/ and secrets/ show ids as they are on disk';

/** Names that the directory of a task cannot have beside what else is in the directory of an allocation. */
function isTaskName(name: string): boolean {
  return !['', '.', '..', 'alloc', SHARED_DIR].includes(name) && !name.includes('/');
}

/**
 * What a user's Podman sees of her allocations: in place of the data dir a tree of root's, in which she can change nothing,
 * with the leaves of the allocation's directory mounted at the paths that the driver names. So no directory in which
 * Nomad's root looks up names is reachable for her, for none of her ids, neither by path nor by descriptor.
 */
export class ViewResource implements Resource {
  readonly kind = 'view';
  readonly #options: ViewOptions;

  constructor(options: ViewOptions) {
    this.#options = options;
  }

  async plan(desired: Desired): Promise<Step[]> {
    if (desired.kind === 'refused') return [];
    const wanted = desired.kind === 'access' ? desired.podman : [];
    const steps =
      desired.kind === 'access' ? await Promise.all(wanted.map((user) => this.#planUser(desired, user))) : [];
    const gone = this.#options.trees.uids().filter((uid) => !wanted.some((user) => user.uid === uid));
    return [...steps.flat(), ...gone.flatMap((uid) => this.#planRemoval(desired.id, uid))];
  }

  /** The ids of all allocations that are shown to somebody. */
  allocationIds(): string[] {
    const { trees, mounts } = this.#options;
    return trees.uids().flatMap((uid) => mounts.allocationIds(uid));
  }

  /** The podman users that tasks of an allocation have been shown to: uids by task. */
  granted(id: string): ReadonlyMap<string, number> {
    const { trees, mounts, dataDir } = this.#options;
    return new Map(
      trees.uids().flatMap((uid): [string, number][] => {
        using directory = mounts.open(uid, `${dataDir.allocDir}/${id}`);
        const tasks = directory ? entriesOf(directory).filter(isTaskName) : [];
        return tasks.map((task) => [task, uid]);
      }),
    );
  }

  /** What keeps ids from being mapped on this host, in words. */
  warnings(): string[] {
    const { idmap, mounts } = this.#options;
    if (idmap === 'off' || !mounts.hasUnmappable) return [];
    return [
      `${PLAIN_IDS} for some allocations: kernel or filesystem cannot map ids (tmpfs from Linux 6.3 on); set idmap: off to have that everywhere`,
    ];
  }

  notes(desired: Desired): string[] {
    if (desired.kind !== 'access' || this.#ids() === 'plain') return desired.kind === 'access' ? [PLAIN_IDS] : [];
    using allocation = this.#options.dataDir.open(desired.id);
    if (!allocation) return [];
    using opened = new DisposableStack();
    const leaves = desired.podman.flatMap((user) => this.#leavesOf(allocation, desired, user, opened));
    const plain = leaves.filter((leaf) => leaf.ids === 'mapped' && this.#options.mounts.isUnmappable(leaf));
    return plain.map(({ path }) => `${path} shows ids as they are on disk: kernel or filesystem cannot map them`);
  }

  async #planUser(desired: Granted, user: Access): Promise<Step[]> {
    const { owners, namespaces, mounts, dataDir, ordering } = this.#options;
    const owner = ownerOf(owners(), user.uid);
    refuseTaskNames(desired);
    const found = await namespaces.of(owner);
    if (this.#isDone(desired, user)) return this.#planHiding(desired, user);
    using allocation = dataDir.open(desired.id);
    if (!allocation) return [];
    using opened = new DisposableStack();
    const lacking = mounts.observe(user.uid, this.#leavesOf(allocation, desired, user, opened), found);
    using shared = openSharedDir(allocation);
    const steps = lacking.namespaces.map((namespace): Step => {
      const what = `mounted the per-user tmpfs of ${user.name} over the data dir in the mount namespace of process ${namespace.pid}`;
      return { kind: this.kind, what, removes: false, apply: () => mounts.showIn(user.uid, namespace) };
    });
    if (shared && lacking.leaves.length === 0) {
      const half = ordering === 'watch' && user.tasks.find((task) => isHalfBuilt(allocation, task));
      if (!half || steps.length > 0) return steps;
      throw new NotYetError(
        'task_dir_not_built',
        `Nomad has not mounted secrets/ of task ${half} yet`,
        undefined,
        WATCH_POLL_MS,
      );
    }
    const labels = this.#options.isSelinuxOn && lacking.leaves.some(lacksLabel);
    const names = lacking.leaves.map(({ path }) => path.slice(allocation.path.length + 1));
    const what = `mounted ${names.join(', ') || 'alloc'} of ${allocation.path} for ${user.name}`;
    const show: Step = { kind: this.kind, what, removes: false, apply: () => this.#show(desired, user, found) };
    return [...(labels ? [this.#labelStep(desired, user)] : []), show, ...steps];
  }

  /**
   * Whether nobody looks at what a user is shown of an allocation: her containers there have been started, and have mounts of
   * their own. Of a user with few allocations it stays, for people to look at; with many each container that is started would
   * have a copy of all these mounts made for it, twice or more.
   */
  #isDone({ started }: Granted, { uid, tasks }: Access): boolean {
    const { mostShown, mounts, ordering } = this.#options;
    if (ordering === 'watch' || !tasks.every((task) => started.includes(task))) return false;
    return mounts.shownCount(uid) > mostShown;
  }

  #planHiding({ id }: Granted, { uid, name, tasks }: Access): Step[] {
    const { mounts, dataDir } = this.#options;
    const path = `${dataDir.allocDir}/${id}`;
    using shown = mounts.open(uid, `${path}/alloc`);
    if (!shown) return [];
    const what = `unmounted ${path} from the per-user tmpfs of ${name}: its containers have been started`;
    return [{ kind: this.kind, what, removes: true, apply: () => mounts.hide(uid, path, tasks) }];
  }

  /** Before they are shown: so nobody else changes what is labelled, and Podman's own option z finds nothing to do. */
  #labelStep(desired: Granted, user: Access): Step {
    const { dataDir } = this.#options;
    const apply = async () => {
      using allocation = dataDir.open(desired.id);
      if (!allocation) return;
      makeSharedDir(allocation);
      using files = new DisposableStack();
      for (const file of this.#clonesOf(allocation, desired, user, files)) await share(file);
    };
    const what = `labelled what ${user.name} sees of ${dataDir.allocDir}/${desired.id} as ${SHARED_LABEL}`;
    return { kind: this.kind, what, removes: false, apply };
  }

  /** Nothing of the allocation's directory itself stays open: the labelling of many files takes a while, and Nomad waits for nobody. */
  #clonesOf(allocation: Handle, desired: Granted, user: Access, clones: DisposableStack): Handle[] {
    using opened = new DisposableStack();
    return this.#leavesOf(allocation, desired, user, opened).map((leaf) => clones.use(cloneSource(leaf)));
  }

  #show(desired: Granted, user: Access, namespaces: readonly [PodmanNamespace, ...PodmanNamespace[]]): void {
    const { dataDir, mounts } = this.#options;
    using allocation = dataDir.open(desired.id);
    if (!allocation) throw new NotYetError('no_allocation_dir', `${dataDir.allocDir}/${desired.id} is gone`);
    makeSharedDir(allocation);
    using opened = new DisposableStack();
    mounts.show(user.uid, this.#leavesOf(allocation, desired, user, opened), namespaces);
  }

  #leavesOf(allocation: Handle, desired: Granted, user: Access, opened: DisposableStack): Leaf[] {
    const { id, named, usesConnect } = desired;
    const tasks = this.#begun(id, user, named);
    return openLeaves(allocation, { tasks, named, ids: this.#ids(), isTmpReadOnly: usesConnect }, opened);
  }

  /**
   * Only tasks of which a container is being created, or was: before, Nomad's root fills local/ by name (dispatch payloads,
   * artifacts), and a container of another task of the user's would be there. Without gates that is not known.
   */
  #begun(id: string, { uid, tasks }: Access, named: readonly string[]): readonly string[] {
    const { ordering, mounts, dataDir } = this.#options;
    if (ordering === 'watch') return tasks;
    return tasks.filter((task) => {
      if (named.some((path) => path === task || path.startsWith(`${task}/`))) return true;
      using shown = mounts.open(uid, `${dataDir.allocDir}/${id}/${task}`);
      return shown !== undefined;
    });
  }

  /**
   * With mapped ids a container's root makes files that lie on disk as root's, set-user-ID ones among them. So only where
   * nobody can come to them on the host: below a data dir that lets nobody but root in.
   */
  #ids(): Leaf['ids'] {
    return this.#options.idmap === 'auto' && this.#options.dataDir.isRootOnly() ? 'mapped' : 'plain';
  }

  #planRemoval(id: string, uid: number): Step[] {
    const { mounts, dataDir } = this.#options;
    const path = `${dataDir.allocDir}/${id}`;
    using shown = mounts.open(uid, path);
    if (!shown) return [];
    const what = `removed ${path} from the mount namespaces of uid ${uid}`;
    const apply = () => mounts.remove(uid, path, dataDir.allocDir);
    return [{ kind: this.kind, what, removes: true, apply }];
  }
}

function refuseTaskNames({ tasks }: Granted): void {
  const bad = tasks.find((task) => !isTaskName(task));
  if (bad === undefined) return;
  throw new RefusedError(
    'bad_task_name',
    `task ${JSON.stringify(bad)} cannot be the name of a directory beside alloc/`,
  );
}
