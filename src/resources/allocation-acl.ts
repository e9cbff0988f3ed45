import { failedWith, NotYetError } from '../errors.ts';
import { entriesOf } from '../linux/directory.ts';
import type { Handle } from '../linux/handle.ts';
import { openBeneathIfThere } from '../linux/handle.ts';
import { O } from '../linux/libc.ts';
import { makeDirectory } from '../linux/mount.ts';
import { format } from '../model/acl.ts';
import { changeOf, entriesFor, type WantedAcl } from '../model/acl-change.ts';
import type { Desired } from '../model/desired.ts';
import type { DataDir } from './data-dir.ts';
import { readMarkedAcl, writeMarkedAcl } from './marked-acl.ts';
import type { Resource, Step } from './resource.ts';
import { SHARED_DIR } from './view/shared-dir.ts';

type Granted = Desired & { kind: 'access' };

/**
 * The restrictive ACL on an allocation's directory: podman users have no way in, for they see what is theirs elsewhere, and neither has
 * anybody else but the users of other drivers' tasks, whom Nomad runs in there. Those are kept out of the directories of
 * podman tasks, and of what these have for alloc/, by deny entries, since Nomad makes these 0777 again and again. Where there are such users, these
 * directories are made with deny entries before Nomad makes them: between its mkdir and ours a user would have time. Nothing
 * deeper is ever touched. In the root only root can rename, so that nobody can have us set the ACL of something else.
 *
 * It does not stop the user of another driver's task from what Nomad lets that task do in alloc/ and in its own directory.
 */
export class AllocationAclResource implements Resource {
  readonly kind = 'acl';
  readonly #dataDir: DataDir;

  constructor(dataDir: DataDir) {
    this.#dataDir = dataDir;
  }

  plan(desired: Desired): Step[] {
    using directory = this.#dataDir.open(desired.id);
    if (!directory) {
      if (desired.kind !== 'access') return [];
      const path = `${this.#dataDir.allocDir}/${desired.id}`;
      throw new NotYetError('no_allocation_dir', `Nomad has not made ${path} yet`);
    }
    if (desired.kind === 'refused') return [];
    if (desired.kind === 'nothing') {
      return [...entriesOf(directory), ''].flatMap((name) => this.#plan(desired.id, name, AS_NOMAD_MADE_IT));
    }
    const only = new Set(desired.others.map(({ uid }) => uid));
    // The task directories first: with the entry on the root a user is in.
    return [...this.#planDenyEntries(directory, desired), ...this.#plan(desired.id, '', { only })];
  }

  #planDenyEntries(directory: Handle, { id, podman, others }: Granted): Step[] {
    if (others.length === 0) return [];
    const wanted: WantedAcl = { added: entriesFor(new Set(others.map(({ uid }) => uid)), 0) };
    const names = [...podman.flatMap(({ tasks }) => tasks), SHARED_DIR];
    return names.flatMap((name) => {
      using there = openBeneathIfThere(directory, name);
      if (there) return this.#plan(id, name, wanted);
      const what = `created ${directory.path}/${name} with deny entries`;
      return [{ kind: this.kind, what, removes: false, apply: () => this.#make(id, name, wanted) }];
    });
  }

  #make(id: string, name: string, wanted: WantedAcl): void {
    using directory = this.#dataDir.open(id);
    if (directory) makeDirectory(directory, name, name === SHARED_DIR ? SHARED_DIR_MODE : TASK_DIR_MODE);
    this.#apply(id, name, wanted);
  }

  #plan(id: string, name: string, wanted: WantedAcl): Step[] {
    using directory = this.#open(id, name);
    const change = directory && changeOf(readMarkedAcl(directory), wanted);
    if (!change) return [];
    const what = `set the ACL of ${directory.path} to ${format(change.acl)}`;
    return [{ kind: this.kind, what, removes: change.mark === undefined, apply: () => this.#apply(id, name, wanted) }];
  }

  #apply(id: string, name: string, wanted: WantedAcl): void {
    using directory = this.#open(id, name);
    const change = directory && changeOf(readMarkedAcl(directory), wanted);
    if (change) writeMarkedAcl(directory, change);
  }

  /** Undefined for what is no directory. */
  #open(id: string, name: string): Handle | undefined {
    const root = this.#dataDir.open(id);
    if (!root || name === '') return root;
    using _closing = root;
    try {
      return openBeneathIfThere(root, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
    } catch (error) {
      if (failedWith(error, 'ENOTDIR', 'ELOOP')) return undefined;
      throw error;
    }
  }
}

const AS_NOMAD_MADE_IT: WantedAcl = { added: new Map() };

/** Nomad opens it up to 0777 when it comes to it (client/allocdir, TaskDir.Build). */
const TASK_DIR_MODE = 0o755;
/** Until all is in it (shared-dir.ts). */
const SHARED_DIR_MODE = 0o700;
