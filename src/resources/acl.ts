import { NotYetError, RefusedError } from '../errors.ts';
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

const READ_EXECUTE = 5;
const EVERYTHING = 7;

/**
 * The lock on an allocation's directory and on the task directories right below it; nothing deeper is ever touched. In
 * the root only root can rename, so that nobody can make us lock or unlock something else.
 *
 * Nomad makes task directories 0777 and works in them as root, by path: it mounts and unmounts secrets/, makes local/,
 * at each start of a task. A user whom we show the allocation must not be able to put a symlink there: in the
 * directories of her own tasks she may look, not write (what lies in local/ and secrets/ stays hers to write), and
 * those of others are shut to her. They are made here where Nomad has not made them yet, and locked before she sees the
 * allocation: between Nomad's mkdir and our lock she would have time.
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
    if (!directory) {
      if (desired.kind !== 'access') return [];
      const path = `${this.#dataDir.allocDir}/${desired.id}`;
      throw new NotYetError('no_allocation_dir', `Nomad has not made ${path} yet`);
    }
    if (desired.kind === 'refused') {
      // What runs keeps its lock; what was never let in is another's to those who can pass.
      const locked = readMarkedAcl(directory).mark?.kind === 'replaced';
      return locked ? [] : this.#plan(desired.id, '', this.#unlocked());
    }
    if (desired.kind === 'nothing') {
      const taskDirs = entriesOf(directory).flatMap((name) => this.#plan(desired.id, name, UNLOCKED));
      return [...taskDirs, ...this.#plan(desired.id, '', this.#unlocked())];
    }
    const users = [...desired.podman, ...desired.others];
    const own = this.#plan(desired.id, '', { only: new Set(users.map((user) => user.uid)) });
    // The task directories first: who can pass the data dir already gets in with the entry on the root.
    return [...desired.tasks.flatMap((task) => this.#planTask(directory, desired, task)), ...own];
  }

  /** The podman users that the tasks of an allocation have been prepared for, as its directories say: uids by task. */
  granted(id: string): ReadonlyMap<string, number> {
    using directory = this.#dataDir.open(id);
    if (!directory || readMarkedAcl(directory).mark?.kind !== 'replaced') return new Map();
    return new Map(
      entriesOf(directory).flatMap((name): [string, number][] => {
        using taskDir = this.#open(id, name);
        const { acl, mark } = taskDir ? readMarkedAcl(taskDir) : {};
        if (!acl || mark?.kind !== 'added') return [];
        const [uid] = [...mark.uids].filter((one) => acl.users.get(one) === READ_EXECUTE);
        return uid === undefined ? [] : [[name, uid]];
      }),
    );
  }

  #planTask(directory: Handle, desired: Desired & { kind: 'access' }, task: string): Step[] {
    if (task.includes('/') || task === '.' || task === '..') {
      throw new RefusedError('bad_task_name', `task ${JSON.stringify(task)} cannot be the name of a directory`);
    }
    // A podman user never writes in a task directory, also where a task of another driver runs as the same user.
    const tasksOf = (uid: number) => users.filter((user) => user.uid === uid).flatMap((user) => user.tasks);
    const users = [...desired.podman, ...desired.others];
    const isPodman = (uid: number) => desired.podman.some((user) => user.uid === uid);
    const entries = new Map(
      users.map(({ uid }) => {
        const own = isPodman(uid) ? READ_EXECUTE : EVERYTHING;
        return [uid, tasksOf(uid).includes(task) ? own : 0];
      }),
    );
    const wanted: WantedAcl = { added: entries };
    if (isThere(directory, task)) return this.#plan(desired.id, task, wanted);
    const apply = () => {
      using parent = this.#dataDir.open(desired.id);
      if (parent) makeDirectory(parent, task, TASK_DIR_MODE);
      this.#apply(desired.id, task, wanted);
    };
    return [{ kind: 'acl', what: `${directory.path}/${task}: made, and locked`, removes: false, apply }];
  }

  #unlocked(): WantedAcl {
    return { added: entriesFor(this.#fencedUids(), 0) };
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

const UNLOCKED: WantedAcl = { added: new Map() };

/** Nomad opens it up to 0777 when it comes to it (client/allocdir, TaskDir.Build). */
const TASK_DIR_MODE = 0o755;

function isThere(directory: Handle, name: string): boolean {
  using there = openBeneathIfThere(directory, name);
  return there !== undefined;
}
