import { dirname } from 'node:path';
import { RefusedError } from '../../errors.ts';
import { entriesOf } from '../../linux/directory.ts';
import type { Handle } from '../../linux/handle.ts';
import { share } from '../../linux/selinux.ts';
import { stat } from '../../linux/stat.ts';
import { format } from '../../model/acl.ts';
import type { UserNeeds } from '../../model/user-needs.ts';
import type { DesiredVolume, LiveVolume } from '../../model/volume.ts';
import type { DataDir } from '../data-dir.ts';
import { readAcl } from '../marked-acl.ts';
import { ownerOf, type PodmanNamespaces, type PodmanOwner } from '../podman-namespaces.ts';
import type { PodmanNamespace } from '../podman-process.ts';
import type { Step, UserResource } from '../resource.ts';
import type { VolumeDirectories } from '../volume-directories.ts';
import { cloneSource, type Leaf, lacksLabel } from './leaf.ts';
import type { UserTrees } from './user-trees.ts';
import type { ViewMounts } from './view-mounts.ts';

/** What the resource works with. */
interface VolumeViewOptions {
  readonly dataDir: DataDir;
  readonly directories: VolumeDirectories;
  readonly mounts: ViewMounts;
  readonly trees: UserTrees;
  readonly namespaces: PodmanNamespaces;
  /** The users that have a gate. */
  readonly owners: () => readonly PodmanOwner[];
  /** Rights on host volumes; `idmap`: ids on disk are those of the user's containers. */
  readonly rights: 'none' | 'acl' | 'idmap';
  /** Whether volumes get the label that containers share, where the task asks for it. */
  readonly isSelinuxOn: boolean;
}

type Namespaces = readonly [PodmanNamespace, ...PodmanNamespace[]];

/**
 * The volumes that a user's allocations claim, shown to her Podman as their directories are: in her tree, at the paths that the
 * driver names. Several allocations of a user can have the same one, so that it goes with the last of them; it is mounted
 * read-only, so that no container can change that, where all of them claim it so.
 */
export class VolumeViewResource implements UserResource {
  readonly kind = 'volume';
  readonly #options: VolumeViewOptions;

  constructor(options: VolumeViewOptions) {
    this.#options = options;
  }

  uids(): readonly number[] {
    return this.#options.trees.uids();
  }

  neededBy({ volumes }: { volumes: readonly DesiredVolume[] }): number[] {
    return volumes.map(({ uid }) => uid);
  }

  async plan(id: string, needs: UserNeeds): Promise<Step[]> {
    const own = needs.volumes.filter((one) => one.id === id);
    const steps = await Promise.all(own.map((one) => this.#planVolume(one, needs)));
    return steps.flat();
  }

  planRemoval({ uid, volumes }: UserNeeds): Step[] {
    const { directories } = this.#options;
    return this.#shownTo(uid)
      .filter((path) => !volumes.some((one) => directories.isOf(path, one)))
      .map((path) => {
        const what = `removed volume ${path} from the mount namespaces of uid ${uid}`;
        return { kind: this.kind, what, removes: true, apply: () => this.#remove(uid, path) };
      });
  }

  async #planVolume(one: LiveVolume, needs: UserNeeds): Promise<Step[]> {
    const { namespaces, owners, mounts } = this.#options;
    const owner = ownerOf(owners(), one.volume.uid);
    const found = await namespaces.of(owner);
    using opened = new DisposableStack();
    const leaves = this.#leavesOf(one, needs, owner, opened);
    if (leaves.length === 0) return [];
    const lacking = mounts.observe(owner.uid, leaves, found);
    const changed = leaves.some(({ path, isReadOnly }) => mounts.isReadOnly(owner.uid, path) === !isReadOnly);
    const shows = lacking.leaves.length > 0 || changed;
    const unlabelled = this.#options.isSelinuxOn && one.volume.isShared === true && leaves.some(lacksLabel);
    const label = this.#step(one, owner, leaves, 'labelled', () => this.#label(one, needs, owner));
    const steps = shows ? [this.#step(one, owner, leaves, 'mounted', () => this.#show(one, needs, owner, found))] : [];
    const seen = lacking.namespaces.map((namespace) =>
      this.#step(one, owner, leaves, 'mounted', () => mounts.showIn(owner.uid, namespace)),
    );
    return [...(unlabelled ? [label] : []), ...steps, ...seen];
  }

  #step(
    { volume }: LiveVolume,
    { name }: PodmanOwner,
    leaves: readonly Leaf[],
    done: 'labelled' | 'mounted',
    apply: Step['apply'],
  ): Step {
    const what = `${done} volume ${volume.claim.source} (${leaves.map(({ path }) => path).join(', ')}) for ${name}`;
    return { kind: this.kind, what, removes: false, apply };
  }

  #show(one: LiveVolume, needs: UserNeeds, owner: PodmanOwner, namespaces: Namespaces): void {
    const { mounts } = this.#options;
    using opened = new DisposableStack();
    const leaves = this.#leavesOf(one, needs, owner, opened);
    for (const { path, isReadOnly } of leaves) {
      if (mounts.isReadOnly(owner.uid, path) === !isReadOnly) mounts.remove(owner.uid, path, dirname(path));
    }
    mounts.show(owner.uid, leaves, namespaces);
  }

  async #label(one: LiveVolume, needs: UserNeeds, owner: PodmanOwner): Promise<void> {
    using files = new DisposableStack();
    for (const file of this.#clonesOf(one, needs, owner, files)) await share(file);
  }

  /** As in view.ts. */
  #clonesOf(one: LiveVolume, needs: UserNeeds, owner: PodmanOwner, clones: DisposableStack): Handle[] {
    using opened = new DisposableStack();
    return this.#leavesOf(one, needs, owner, opened).map((leaf) => clones.use(cloneSource(leaf)));
  }

  #leavesOf(one: LiveVolume, needs: UserNeeds, owner: PodmanOwner, opened: DisposableStack): Leaf[] {
    const { dataDir, directories, mounts, rights } = this.#options;
    const { volume } = one;
    return directories.open(one.id, volume, opened).map((directory) => {
      const { source, name } = directory;
      const path = name === undefined ? source.path : `${source.path}/${name}`;
      const mapped = rights === 'idmap' && volume.claim.type === 'host' && dataDir.isRootOnly(dirname(path));
      const ids = mapped && !mounts.isUnmappable(directory) ? 'mapped' : 'plain';
      if (volume.claim.type === 'host' && ids === 'plain') refuseShut(source, volume, owner);
      return {
        ...directory,
        path,
        isReadOnly: this.#isReadOnly(one, needs, path),
        ids,
        isTree: true,
        isPart: false,
        followsSymlinks: true,
      };
    });
  }

  /** While not all claims are known, one for reading leaves what is mounted as it is. */
  #isReadOnly({ volume }: LiveVolume, { isComplete, volumes }: UserNeeds, path: string): boolean {
    if (!volume.claim.readOnly) return false;
    const { directories, mounts } = this.#options;
    if (!isComplete) return mounts.isReadOnly(volume.uid, path) !== false;
    return volumes.filter((one) => directories.isOf(path, one)).every((one) => one.volume.claim.readOnly);
  }

  #remove(uid: number, path: string): void {
    const root = this.#options.directories.roots().find((one) => path.startsWith(`${one.path}/`));
    this.#options.mounts.remove(uid, path, root?.path ?? dirname(path));
  }

  #shownTo(uid: number): string[] {
    const below = (path: string, depth: number): string[] => {
      if (depth === 0) return [path];
      using directory = this.#options.mounts.open(uid, path);
      return (directory ? entriesOf(directory) : []).flatMap((name) => below(`${path}/${name}`, depth - 1));
    };
    return this.#options.directories.roots().flatMap(({ path, depth }) => below(path, depth));
  }
}

/** A volume that nobody but root can enter: its task would find it empty of rights, and say so in its own words. */
function refuseShut(directory: Handle, { claim }: DesiredVolume, { name, uid }: PodmanOwner): void {
  const { uid: owner, gid } = stat(directory);
  const acl = readAcl(directory);
  if (owner !== 0 || gid !== 0 || acl.other !== 0 || acl.users.size + acl.groups.size > 0) return;
  const remedy = `create it with parameters of its plugin (mkdir: uid = ${uid}, or gid, or mode), or set volumes: idmap or volumes: acl in nomad-rootless's config`;
  const message = `host volume ${claim.source} (${directory.path}) belongs to root alone (${format(acl)}), and ${name} has no access: ${remedy}`;
  throw new RefusedError('volume_shut', message);
}
