import { dirname } from 'node:path';
import { RefusedError } from '../errors.ts';
import { entriesOf } from '../linux/directory.ts';
import { type Handle, isMountedIn, openCached } from '../linux/handle.ts';
import { stat } from '../linux/stat.ts';
import { format } from '../model/acl.ts';
import type { Desired } from '../model/desired.ts';
import type { DesiredVolume, LiveVolume } from '../model/volume.ts';
import type { DataDir } from './data-dir.ts';
import { readAcl } from './marked-acl.ts';
import type { PodmanNamespaces, PodmanOwner } from './podman-namespaces.ts';
import type { PodmanNamespace } from './podman-process.ts';
import type { Resource, Step } from './resource.ts';
import type { Skeletons } from './skeleton.ts';
import { ViewPlaces } from './view-place.ts';
import type { VolumeDirectories } from './volume-directories.ts';

/** What the resource works with. */
export interface VolumeViewOptions {
  readonly dataDir: DataDir;
  readonly directories: VolumeDirectories;
  readonly skeletons: Skeletons;
  readonly namespaces: PodmanNamespaces;
  /** The users that have a gate. */
  readonly owners: () => readonly PodmanOwner[];
  /** The volumes that allocations need now; undefined while that is not known: then nothing is taken away. */
  readonly live: () => readonly LiveVolume[] | undefined;
  readonly access: 'mount' | 'acl';
}

/**
 * The volumes that an allocation claims, shown to its user's Podman as its directory is: in the view, at the path that the
 * driver names. Several allocations of a user can have the same one, so that it goes with the last of them.
 */
export class VolumeViewResource implements Resource {
  readonly kind = 'volume';
  readonly #options: VolumeViewOptions;
  readonly #places: ViewPlaces;

  constructor(options: VolumeViewOptions) {
    this.#options = options;
    this.#places = new ViewPlaces(options.dataDir, options.skeletons);
  }

  async plan(desired: Desired): Promise<Step[]> {
    if (desired.kind === 'refused') return [];
    if (desired.kind === 'nothing') return desired.why === 'unmanaged' ? [] : this.planSweep();
    const steps = await Promise.all(desired.volumes.map((volume) => this.#planVolume({ id: desired.id, volume })));
    return steps.flat();
  }

  /** Steps against places of volumes that no allocation needs any more. */
  planSweep(): Step[] {
    const { skeletons, live, directories } = this.#options;
    const places = skeletons.uids().flatMap((uid) => this.#placesOf(uid));
    const needed = places.length === 0 ? undefined : live();
    if (!needed) return [];
    return places
      .filter(({ uid, path }) => !needed.some((one) => one.volume.uid === uid && directories.isOf(path, one)))
      .map(({ uid, path }) => this.#removal(uid, path));
  }

  async #planVolume(one: LiveVolume): Promise<Step[]> {
    const { namespaces, owners, directories } = this.#options;
    const owner = owners().find(({ uid }) => uid === one.volume.uid);
    if (!owner) return [];
    const found = await namespaces.of(owner);
    using opened = new DisposableStack();
    return directories
      .open(one.id, one.volume)
      .map((directory) => opened.use(directory))
      .flatMap((directory) => this.#planDirectory(one, directory, owner, found));
  }

  #planDirectory(
    one: LiveVolume,
    directory: Handle,
    owner: PodmanOwner,
    namespaces: readonly PodmanNamespace[],
  ): Step[] {
    if (this.#options.access === 'acl') throw needsMount(directory);
    if (one.volume.claim.type === 'host') refuseShut(directory, one.volume, owner);
    const { path } = directory;
    const mounted = this.#options.directories.mountedIn(directory, one.volume);
    const isComplete = () => {
      using seen = mounted.length === 0 ? undefined : openCached(path);
      return mounted.every((name) => seen !== undefined && isMountedIn(seen, name));
    };
    const found = namespaces.map((namespace) => ({
      namespace,
      state: this.#places.observe(namespace, owner.uid, directory, isComplete),
    }));
    const mounts = found
      .filter(({ state }) => state !== 'mounted')
      .map(({ namespace }): Step => {
        const what = `${path} into the mount namespace of ${owner.name}'s process ${namespace.pid}`;
        return { kind: this.kind, what, removes: false, apply: () => this.#mount(one, path, namespace) };
      });
    return found.some(({ state }) => state === 'stale') ? [this.#removal(owner.uid, path), ...mounts] : mounts;
  }

  #mount({ id, volume }: LiveVolume, path: string, namespace: PodmanNamespace): void {
    using opened = new DisposableStack();
    const all = this.#options.directories.open(id, volume).map((directory) => opened.use(directory));
    const directory = all.find((one) => one.path === path);
    if (directory) this.#places.mount(namespace, volume.uid, directory);
  }

  #removal(uid: number, path: string): Step {
    const what = `volume ${path} from the mount namespaces of uid ${uid}`;
    return { kind: this.kind, what, removes: true, apply: () => this.#remove(uid, path) };
  }

  #remove(uid: number, path: string): void {
    const root = this.#options.directories.roots().find((one) => path.startsWith(`${one.path}/`));
    this.#places.remove(uid, path, root?.path ?? dirname(path));
  }

  #placesOf(uid: number): { uid: number; path: string }[] {
    const below = (path: string, depth: number): string[] => {
      if (depth === 0) return [path];
      using place = this.#places.open(uid, path);
      return (place ? entriesOf(place) : []).flatMap((name) => below(`${path}/${name}`, depth - 1));
    };
    return this.#options.directories
      .roots()
      .flatMap(({ path, depth }) => below(path, depth))
      .map((path) => ({ uid, path }));
  }
}

/** A volume that nobody but root can enter: its task would find it empty of rights, and say so in its own words. */
function refuseShut(directory: Handle, { claim }: DesiredVolume, { name, uid }: PodmanOwner): void {
  const { uid: owner, gid } = stat(directory);
  const acl = readAcl(directory);
  if (owner !== 0 || gid !== 0 || acl.other !== 0 || acl.users.size + acl.groups.size > 0) return;
  const remedy = `create it with parameters of its plugin (mkdir: uid = ${uid}, or gid, or mode), or set volumes: acl in nomad-rootless's config`;
  const message = `host volume ${claim.source} (${directory.path}) is root's alone (${format(acl)}), and shut to ${name}: ${remedy}`;
  throw new RefusedError('volume_shut', message);
}

function needsMount({ path }: Handle): RefusedError {
  const message = `volume ${path} lies in Nomad's data dir, which is not opened so far: volumes need access: mount in nomad-rootless's config`;
  return new RefusedError('volume_needs_mount', message);
}
