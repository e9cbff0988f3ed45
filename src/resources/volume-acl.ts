import type { Handle } from '../linux/handle.ts';
import { format, type Permissions } from '../model/acl.ts';
import { changeOf, type WantedAcl } from '../model/acl-change.ts';
import type { Desired } from '../model/desired.ts';
import type { LiveVolume } from '../model/volume.ts';
import { readMarkedAcl, writeMarkedAcl } from './marked-acl.ts';
import type { Resource, Step } from './resource.ts';
import type { VolumeDirectories } from './volume-directories.ts';

const READ_EXECUTE = 5;
const EVERYTHING = 7;

/** The volumes that allocations need now; undefined while that is not known: then nothing is taken away. */
type LiveVolumes = () => readonly LiveVolume[] | undefined;

/** Permissions by uid. */
type Entries = ReadonlyMap<number, Permissions>;

/**
 * With `volumes: acl`, rights of users on the root directory of a dynamic host volume while one of their allocations claims
 * it: rwx, or r-x where all these claims are read-only. What lies in it keeps its own owners and modes.
 */
export class VolumeAclResource implements Resource {
  readonly kind = 'volume';
  readonly #directories: VolumeDirectories;
  readonly #live: LiveVolumes | undefined;

  /** @param live undefined where rights are given in another way: then it only takes away what it gave before */
  constructor(directories: VolumeDirectories, live: LiveVolumes | undefined) {
    this.#directories = directories;
    this.#live = live;
  }

  plan(desired: Desired): Step[] {
    if (desired.kind === 'refused' || (desired.kind === 'access' && !this.#live)) return [];
    if (desired.kind === 'nothing') return desired.why === 'unmanaged' ? [] : this.planSweep();
    const own = desired.volumes.map((volume) => ({ id: desired.id, volume }));
    const live = this.#live?.();
    using opened = new DisposableStack();
    return own
      .filter(({ volume }) => volume.claim.type === 'host')
      .flatMap(({ id, volume }) => this.#directories.open(id, volume))
      .map((directory) => opened.use(directory))
      .flatMap((directory) => {
        const wanted = this.#entriesOn(directory, [...(live ?? []), ...own]);
        return this.#plan(directory, live ? wanted : new Map([...oursOn(directory), ...wanted]));
      });
  }

  /** Steps against entries of ours on volumes that no allocation needs any more. */
  planSweep(): Step[] {
    using opened = new DisposableStack();
    const marked = this.#directories
      .openAllHost()
      .map((directory) => opened.use(directory))
      .filter((directory) => readMarkedAcl(directory).mark !== undefined);
    const live = marked.length === 0 ? undefined : this.#live ? this.#live() : [];
    return live ? marked.flatMap((directory) => this.#plan(directory, this.#entriesOn(directory, live))) : [];
  }

  #plan(directory: Handle, added: Entries): Step[] {
    const wanted: WantedAcl = { added };
    const change = changeOf(readMarkedAcl(directory), wanted);
    if (!change) return [];
    const { path } = directory;
    const apply = () => {
      using opened = new DisposableStack();
      const again = this.#directories.openAllHost().map((one) => opened.use(one));
      const found = again.find((one) => one.path === path);
      const next = found && changeOf(readMarkedAcl(found), wanted);
      if (next) writeMarkedAcl(found, next);
    };
    return [{ kind: this.kind, what: `${path}: ${format(change.acl)}`, removes: change.mark === undefined, apply }];
  }

  #entriesOn({ path }: Handle, live: readonly LiveVolume[]): Entries {
    const entries = new Map<number, Permissions>();
    for (const one of live) {
      const { uid, claim } = one.volume;
      if (claim.type !== 'host' || !this.#directories.isOf(path, one)) continue;
      entries.set(uid, (entries.get(uid) ?? 0) | (claim.readOnly ? READ_EXECUTE : EVERYTHING));
    }
    return entries;
  }
}

function oursOn(directory: Handle): Entries {
  const { acl, mark } = readMarkedAcl(directory);
  const uids = mark?.kind === 'added' ? [...mark.uids] : [];
  return new Map(uids.map((uid) => [uid, acl.users.get(uid) ?? 0]));
}
