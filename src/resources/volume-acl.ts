import { basename } from 'node:path';
import { messageOf } from '../errors.ts';
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
  /** The ids of the volumes that each allocation had when it was last looked at; of those that are over, until the next sweep. */
  readonly #volumesOf = new Map<string, ReadonlySet<string>>();

  /** @param live undefined where rights are given in another way: then it only takes away what it gave before */
  constructor(directories: VolumeDirectories, live: LiveVolumes | undefined) {
    this.#directories = directories;
    this.#live = live;
  }

  plan(desired: Desired): Step[] {
    if (desired.kind === 'refused' || (desired.kind === 'access' && !this.#live)) return [];
    if (desired.kind === 'nothing') return desired.why === 'unmanaged' ? [] : this.#planEnd(desired.id);
    const own = desired.volumes.map((volume) => ({ id: desired.id, volume }));
    const live = this.#live?.();
    using opened = new DisposableStack();
    const directories = own
      .filter(({ volume }) => volume.claim.type === 'host')
      .flatMap(({ id, volume }) => this.#directories.open(id, volume))
      .map((directory) => opened.use(directory));
    this.#volumesOf.set(desired.id, new Set(directories.map(({ path }) => basename(path))));
    return directories.flatMap((directory) => {
      const wanted = this.#entriesOn(directory, [...(live ?? []), ...own]);
      return this.#plan(directory, live ? wanted : new Map([...oursOn(directory), ...wanted]));
    });
  }

  /**
   * Steps against entries of ours on volumes that no allocation needs any more. A volume that cannot be looked at is a step that
   * fails: it keeps nothing on the others.
   */
  planSweep(): Step[] {
    const live = this.#live?.();
    for (const id of live ? this.#volumesOf.keys() : []) {
      if (!live?.some((one) => one.id === id)) this.#volumesOf.delete(id);
    }
    return this.#directories.hostIds().flatMap((id) => {
      try {
        return this.#planRemoval(id);
      } catch (error) {
        const fail = () => {
          throw error;
        };
        const what = `host volume ${id}, which cannot be read: ${messageOf(error)}`;
        return [{ kind: this.kind, what, removes: false, apply: fail }];
      }
    });
  }

  /** The volumes of others are left to the sweep: what is wrong with one of them keeps no allocation from ending. */
  #planEnd(allocation: string): Step[] {
    return [...(this.#volumesOf.get(allocation) ?? [])].flatMap((id) => this.#planRemoval(id));
  }

  #planRemoval(id: string): Step[] {
    using directory = this.#directories.openHostId(id);
    if (!directory || readMarkedAcl(directory).mark === undefined) return [];
    const live = this.#live ? this.#live() : [];
    return live ? this.#plan(directory, this.#entriesOn(directory, live)) : [];
  }

  #plan(directory: Handle, added: Entries): Step[] {
    const wanted: WantedAcl = { added };
    const change = changeOf(readMarkedAcl(directory), wanted);
    if (!change) return [];
    const { path } = directory;
    const apply = () => {
      using again = this.#directories.openHostId(basename(path));
      const next = again && changeOf(readMarkedAcl(again), wanted);
      if (next) writeMarkedAcl(again, next);
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
