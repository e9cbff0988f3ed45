import { NotYetError } from '../errors.ts';
import { entriesOf } from '../linux/directory.ts';
import type { Handle } from '../linux/handle.ts';
import { openBeneathIfThere } from '../linux/handle.ts';
import { O } from '../linux/libc.ts';
import { format } from '../model/acl.ts';
import { changeOf, type WantedAcl } from '../model/acl-change.ts';
import type { Desired } from '../model/desired.ts';
import type { DataDir } from './data-dir.ts';
import { readMarkedAcl, writeMarkedAcl } from './marked-acl.ts';
import type { Resource, Step } from './resource.ts';

/**
 * The lock on an allocation's directory. Only its root, and with several users the task directories right below it,
 * are ever touched: in these only root can rename, so that a container cannot make us lock or unlock something else.
 */
export class AclResource implements Resource {
  readonly kind = 'acl';
  readonly #dataDir: DataDir;
  readonly #fencedUids: () => ReadonlySet<number>;

  /** @param fencedUids users who can pass through the data dir (`access: acl`) and so must be shut out of what is not theirs */
  constructor(dataDir: DataDir, fencedUids: () => ReadonlySet<number>) {
    this.#dataDir = dataDir;
    this.#fencedUids = fencedUids;
  }

  plan(desired: Desired): Step[] {
    using directory = this.#dataDir.open(desired.id);
    if (desired.kind === 'refused') return [];
    if (!directory) {
      if (desired.kind === 'nothing') return [];
      const path = `${this.#dataDir.allocDir}/${desired.id}`;
      throw new NotYetError('no_allocation_dir', `Nomad has not made ${path} yet`);
    }
    if (desired.kind === 'nothing') {
      const taskDirs = entriesOf(directory).flatMap((name) => this.#plan(desired.id, name, UNLOCKED));
      return [...taskDirs, ...this.#plan(desired.id, '', this.#unlocked())];
    }
    const users = [...desired.podman, ...desired.others];
    const own = this.#plan(desired.id, '', { only: new Set(users.map((user) => user.uid)) });
    if (users.length === 1) return own;
    const taskDirs = users.flatMap((user) =>
      user.tasks.flatMap((task) => this.#plan(desired.id, task, { only: new Set([user.uid]) })),
    );
    return [...own, ...taskDirs];
  }

  #unlocked(): WantedAcl {
    return { added: this.#fencedUids(), permissions: 0 };
  }

  #plan(id: string, name: string, wanted: WantedAcl): Step[] {
    using directory = this.#open(id, name);
    const change = directory && changeOf(readMarkedAcl(directory), wanted);
    if (!change) return [];
    const what = `${directory.path}: ${format(change.acl)}`;
    return [{ kind: 'acl', what, removes: change.mark === undefined, apply: () => this.#apply(id, name, wanted) }];
  }

  #apply(id: string, name: string, wanted: WantedAcl): void {
    using directory = this.#open(id, name);
    const change = directory && changeOf(readMarkedAcl(directory), wanted);
    if (change) writeMarkedAcl(directory, change);
  }

  #open(id: string, name: string): Handle | undefined {
    const root = this.#dataDir.open(id);
    if (!root || name === '') return root;
    using _closing = root;
    return openBeneathIfThere(root, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  }
}

const UNLOCKED: WantedAcl = { added: new Set(), permissions: 0 };
