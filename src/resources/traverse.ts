import type { Handle } from '../linux/handle.ts';
import { permissionsOf } from '../model/acl.ts';
import { changeOf, entriesFor, type WantedAcl } from '../model/acl-change.ts';
import type { Desired } from '../model/desired.ts';
import type { DataDir } from './data-dir.ts';
import { readMarkedAcl, writeMarkedAcl } from './marked-acl.ts';
import type { Resource, Step } from './resource.ts';

const EXECUTE = 1;

/**
 * `access: acl`: users with an allocation may pass through the data dir (`u:<user>:--x` where they could not), and are
 * shut out of every other allocation's directory (`u:<user>:---`), since those are 0755 and what is in them 0777.
 * Fences go up before the way in opens and come down after it closes. The directory that holds the allocations always
 * gets the entry and thus says, across restarts, who can pass.
 *
 * Not closed: the moment between Nomad making a new allocation's directory and our fencing it, in which a user who
 * can pass and guesses its random id gets in. `access: mount` has no such moment.
 */
export class TraverseResource implements Resource {
  readonly kind = 'traverse';
  readonly #dataDir: DataDir;
  readonly #live: () => ReadonlySet<number> | undefined;

  /** @param live uids with an allocation that needs access now; undefined while that is not known: then nobody is taken away */
  constructor(dataDir: DataDir, live: () => ReadonlySet<number> | undefined) {
    this.#dataDir = dataDir;
    this.#live = live;
  }

  /** The users who can pass now by an entry of ours. */
  passing(): ReadonlySet<number> {
    if (!this.#dataDir.exists()) return new Set();
    using allocDir = this.#dataDir.openAncestor(this.#dataDir.allocDir);
    const { mark } = readMarkedAcl(allocDir);
    return mark?.kind === 'added' ? mark.uids : new Set();
  }

  plan(desired: Desired): Step[] {
    if (!this.#dataDir.exists()) return [];
    const passing = this.passing();
    const wanted = new Set(this.#live() ?? passing);
    if (desired.kind === 'access') for (const user of desired.podman) wanted.add(user.uid);
    const opens = [...wanted].some((uid) => !passing.has(uid));
    const closes = [...passing].some((uid) => !wanted.has(uid));
    const unsettled = this.#dataDir.ancestors().some((path) => this.#onAncestor(path, wanted, false));
    if (!opens && !closes && !unsettled) return [];
    const what = `${this.#dataDir.allocDir}: passable for uids ${[...wanted].join(', ') || 'none'}`;
    return [{ kind: this.kind, what, removes: closes && !opens, apply: () => this.#settle(wanted) }];
  }

  #settle(wanted: ReadonlySet<number>): void {
    this.#fence(new Set([...wanted, ...this.passing()]));
    for (const path of this.#dataDir.ancestors()) this.#onAncestor(path, wanted, true);
    this.#fence(wanted);
  }

  #fence(uids: ReadonlySet<number>): void {
    for (const id of this.#dataDir.ids()) {
      using directory = this.#dataDir.open(id);
      if (!directory || readMarkedAcl(directory).mark?.kind === 'replaced') continue;
      change(directory, { added: entriesFor(uids, 0) }, true);
    }
  }

  #onAncestor(path: string, wanted: ReadonlySet<number>, write: boolean): boolean {
    using directory = this.#dataDir.openAncestor(path);
    const { acl, mark } = readMarkedAcl(directory);
    const ours = mark?.kind === 'added' ? mark.uids : new Set<number>();
    const needs = [...wanted].filter(
      (uid) => path === this.#dataDir.allocDir || ours.has(uid) || (permissionsOf(acl, uid) & EXECUTE) === 0,
    );
    return change(directory, { added: entriesFor(needs, EXECUTE) }, write);
  }
}

function change(directory: Handle, wanted: WantedAcl, write: boolean): boolean {
  const next = changeOf(readMarkedAcl(directory), wanted);
  if (next && write) writeMarkedAcl(directory, next);
  return next !== undefined;
}
