import { basename } from 'node:path';
import { messageOf } from '../errors.ts';
import type { Handle } from '../linux/handle.ts';
import { format, MAY, type Permissions } from '../model/acl.ts';
import { changeOf, type MarkedAcl } from '../model/acl-change.ts';
import type { UserNeeds } from '../model/user-needs.ts';
import type { DesiredVolume } from '../model/volume.ts';
import { readMarkedAcl, writeMarkedAcl } from './marked-acl.ts';
import type { Step, UserResource } from './resource.ts';
import type { VolumeDirectories } from './volume-directories.ts';

/**
 * With `volumes: acl`, rights of a user on the root directory of a dynamic host volume while one of her allocations claims it:
 * rwx, or r-x where all these claims are read-only. What lies in it keeps its own owners and modes.
 */
export class VolumeAclResource implements UserResource {
  readonly kind = 'volume';
  readonly #directories: VolumeDirectories;
  readonly #isGranting: boolean;

  /** @param isGranting false where rights are given in another way: then it only takes away what it gave before */
  constructor(directories: VolumeDirectories, isGranting: boolean) {
    this.#directories = directories;
    this.#isGranting = isGranting;
  }

  uids(): number[] {
    return this.#directories.hostIds().flatMap((id) => {
      try {
        using directory = this.#directories.openHostId(id);
        return directory ? [...oursOn(readMarkedAcl(directory)).keys()] : [];
      } catch {
        return []; // of one that cannot be looked at, a pass over a user says why
      }
    });
  }

  neededBy({ volumes }: { volumes: readonly DesiredVolume[] }): number[] {
    return volumes.map(({ uid }) => uid);
  }

  plan(id: string, needs: UserNeeds): Step[] {
    if (!this.#isGranting) return [];
    const own = needs.volumes.filter((one) => one.id === id);
    return own.flatMap(({ volume }) => {
      using directory = this.#directories.openHost(volume);
      if (!directory) return [];
      const claimed = this.#claimedOn(directory, needs);
      const known = needs.isComplete ? 0 : (oursOn(readMarkedAcl(directory)).get(needs.uid) ?? 0);
      return this.#plan(directory, needs.uid, claimed | known);
    });
  }

  /** A volume that cannot be looked at is a step that fails: it keeps nothing on the others. */
  planRemoval(needs: UserNeeds): Step[] {
    return this.#directories.hostIds().flatMap((id) => {
      try {
        using directory = this.#directories.openHostId(id);
        if (!directory || !oursOn(readMarkedAcl(directory)).has(needs.uid)) return [];
        return this.#plan(directory, needs.uid, this.#isGranting ? this.#claimedOn(directory, needs) : 0);
      } catch (error) {
        const fail = () => {
          throw error;
        };
        const what = `host volume ${id}, which cannot be read: ${messageOf(error)}`;
        return [{ kind: this.kind, what, removes: false, apply: fail }];
      }
    });
  }

  /** @param permissions of the user; 0 where she is to have no entry of ours */
  #plan(directory: Handle, uid: number, permissions: Permissions): Step[] {
    const change = changeFor(readMarkedAcl(directory), uid, permissions);
    if (!change) return [];
    const { path } = directory;
    const apply = () => {
      using again = this.#directories.openHostId(basename(path));
      // By what is there now: another user may have got an entry meanwhile.
      const next = again && changeFor(readMarkedAcl(again), uid, permissions);
      if (next) writeMarkedAcl(again, next);
    };
    return [{ kind: this.kind, what: `${path}: ${format(change.acl)}`, removes: permissions === 0, apply }];
  }

  #claimedOn({ path }: Handle, { volumes }: UserNeeds): Permissions {
    return volumes
      .filter((one) => one.volume.claim.type === 'host' && this.#directories.isOf(path, one))
      .reduce((all, { volume }) => all | (volume.claim.readOnly ? MAY.readExecute : MAY.all), 0);
  }
}

/** The entries of others stay. */
function changeFor(current: MarkedAcl, uid: number, permissions: Permissions): MarkedAcl | undefined {
  const added = new Map(oursOn(current)).set(uid, permissions);
  if (permissions === 0) added.delete(uid);
  return changeOf(current, { added });
}

function oursOn({ acl, mark }: MarkedAcl): ReadonlyMap<number, Permissions> {
  const uids = mark?.kind === 'added' ? [...mark.uids] : [];
  return new Map(uids.map((uid) => [uid, acl.users.get(uid) ?? 0]));
}
