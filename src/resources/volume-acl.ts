import type { Handle } from '../linux/handle.ts';
import { format, type Permissions } from '../model/acl.ts';
import { changeOf, type WantedAcl } from '../model/acl-change.ts';
import type { Desired } from '../model/desired.ts';
import type { LiveVolume, VolumeClaim } from '../model/volume.ts';
import { readMarkedAcl, writeMarkedAcl } from './marked-acl.ts';
import type { Resource, Step } from './resource.ts';
import type { VolumeDirectories } from './volume-directories.ts';

const EXECUTE = 1;
const READ_EXECUTE = 5;
const EVERYTHING = 7;

/** Permissions by uid. */
type Entries = ReadonlyMap<number, Permissions>;

/** The volumes whose directories are given entries. */
export type VolumeType = 'host' | 'csi';

/**
 * Rights of users on the directory of a volume while one of their allocations claims it.
 *
 * `host`, with `volumes: acl`: on the root directory of a dynamic host volume rwx, or r-x where all these claims are
 * read-only. What lies in it keeps its own owners and modes.
 *
 * `csi`: on the directory in which a CSI volume is mounted for an allocation --x, no more than the way to what is mounted.
 * Nomad makes it as root's and 0700 (ensureAllocDir in client/pluginmanager/csimanager/volume.go).
 */
export class VolumeAclResource implements Resource {
  readonly kind = 'volume';
  readonly #type: VolumeType;
  readonly #directories: VolumeDirectories;
  readonly #live: () => readonly LiveVolume[] | undefined;

  /** @param live the volumes that allocations need now; undefined while that is not known: then nothing is taken away */
  constructor(type: VolumeType, directories: VolumeDirectories, live: () => readonly LiveVolume[] | undefined) {
    this.#type = type;
    this.#directories = directories;
    this.#live = live;
  }

  plan(desired: Desired): Step[] {
    if (desired.kind === 'refused') return [];
    if (desired.kind === 'nothing') return desired.why === 'unmanaged' ? [] : this.planSweep();
    const own = desired.volumes.map((volume) => ({ id: desired.id, volume }));
    const live = this.#live();
    using opened = new DisposableStack();
    return own
      .filter(({ volume }) => volume.claim.type === this.#type)
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
    const marked = this.#openAll()
      .map((directory) => opened.use(directory))
      .filter((directory) => readMarkedAcl(directory).mark !== undefined);
    const live = marked.length === 0 ? undefined : this.#live();
    return live ? marked.flatMap((directory) => this.#plan(directory, this.#entriesOn(directory, live))) : [];
  }

  #openAll(): Handle[] {
    return this.#type === 'csi' ? this.#directories.openAllCsi() : this.#directories.openAllHost();
  }

  #plan(directory: Handle, added: Entries): Step[] {
    const wanted: WantedAcl = { added };
    const change = changeOf(readMarkedAcl(directory), wanted);
    if (!change) return [];
    const { path } = directory;
    const apply = () => {
      using opened = new DisposableStack();
      const again = this.#openAll().map((one) => opened.use(one));
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
      if (claim.type !== this.#type || !this.#directories.isOf(path, one)) continue;
      entries.set(uid, (entries.get(uid) ?? 0) | permissionsFor(claim));
    }
    return entries;
  }
}

function permissionsFor({ type, readOnly }: VolumeClaim): Permissions {
  if (type === 'csi') return EXECUTE;
  return readOnly ? READ_EXECUTE : EVERYTHING;
}

function oursOn(directory: Handle): Entries {
  const { acl, mark } = readMarkedAcl(directory);
  const uids = mark?.kind === 'added' ? [...mark.uids] : [];
  return new Map(uids.map((uid) => [uid, acl.users.get(uid) ?? 0]));
}
