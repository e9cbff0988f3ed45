import type { Host } from '../../../src/agent/host.ts';
import type { Desired } from '../../../src/model/desired.ts';
import type { Resource, Step } from '../../../src/resources/resource.ts';

/** A host that has a switch for each allocation, on where it has access, and a way in for each user, open while she needs it. */
export class SwitchedHost implements Host {
  readonly allocDir: string;
  readonly netnsDir = '/nowhere/netns';
  readonly resources: readonly Resource[];
  /** The uids that have access, by the allocation that is switched on. */
  readonly on = new Map<string, readonly number[]>();
  /** The uids whose way in is open. */
  readonly open = new Set<number>();
  /** Told of an allocation that loses something: its switch, or the way in of its user. */
  onLoss: (id: string) => void = () => undefined;
  readonly #directories: () => ReadonlySet<string>;
  #liveUids: () => ReadonlySet<number> | undefined = () => undefined;

  /** @param directories of the allocations that have one */
  constructor(allocDir: string, directories: () => ReadonlySet<string>) {
    this.allocDir = allocDir;
    this.#directories = directories;
    this.resources = [{ kind: 'acl', plan: (desired) => this.#plan(desired) }];
  }

  /** The same host, for an agent that says who needs access. */
  with(liveUids: () => ReadonlySet<number> | undefined): this {
    this.#liveUids = liveUids;
    return this;
  }

  allocationIds(): string[] {
    return [...new Set([...this.#directories(), ...this.on.keys()])];
  }

  hasDirectory(id: string): boolean {
    return this.#directories().has(id);
  }

  grantedOn(): ReadonlyMap<string, number> {
    return new Map();
  }

  isNetnsOwned(): boolean {
    return false;
  }

  sweep(): Step[] {
    return this.#planWays([]);
  }

  close(): void {
    // There is nothing to let go of.
  }

  #plan(desired: Desired): Step[] {
    if (desired.kind === 'refused') return [];
    const { id } = desired;
    const uids = desired.kind === 'access' ? desired.podman.map((user) => user.uid) : [];
    const isSettled = (this.on.get(id) ?? []).join() === uids.join();
    return [...(isSettled ? [] : [this.#switch(id, uids)]), ...this.#planWays(uids)];
  }

  #switch(id: string, uids: readonly number[]): Step {
    const removes = uids.length === 0;
    return step(`switch ${id}`, removes, () => {
      if (removes) this.onLoss(id);
      if (removes) this.on.delete(id);
      else this.on.set(id, uids);
    });
  }

  /** The ways of these uids are to be open, and of nobody who is known not to need it. */
  #planWays(uids: readonly number[]): Step[] {
    const live = this.#liveUids();
    const opened = uids.filter((uid) => !this.open.has(uid));
    const closed = [...this.open].filter((uid) => live && !live.has(uid) && !uids.includes(uid));
    return [
      ...opened.map((uid) => step(`way of ${uid}`, false, () => this.open.add(uid))),
      ...closed.map((uid) => step(`way of ${uid}`, true, () => this.#close(uid))),
    ];
  }

  #close(uid: number): void {
    this.open.delete(uid);
    for (const [id, uids] of this.on) if (uids.includes(uid)) this.onLoss(id);
  }
}

function step(what: string, removes: boolean, change: () => unknown): Step {
  return { kind: 'acl', what, removes, apply: () => void change() };
}
