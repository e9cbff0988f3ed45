import type { Host } from '../../src/agent/host.ts';
import type { Desired } from '../../src/model/desired.ts';
import type { Resource, Step } from '../../src/resources/resource.ts';

/** A host that has a switch for each allocation, on where it has access. */
export class SwitchedHost implements Host {
  readonly allocDir: string;
  readonly isSelinuxOn = false;
  readonly userResources = [];
  readonly nodeResources = [];
  readonly netnsDir = '/nowhere/netns';
  readonly resources: readonly Resource[];
  /** The uids that have access, by the allocation that is switched on. */
  readonly on = new Map<string, readonly number[]>();
  /** Told of an allocation that loses its switch. */
  onLoss: (id: string) => void = () => undefined;
  readonly #directories: () => ReadonlySet<string>;

  /** @param directories of the allocations that have one */
  constructor(allocDir: string, directories: () => ReadonlySet<string>) {
    this.allocDir = allocDir;
    this.#directories = directories;
    this.resources = [{ kind: 'acl', plan: (desired) => this.#plan(desired) }];
  }

  readonly migratedNetns = {
    ids: () => [],
    pathOf: (id: string) => `${this.netnsDir}/${id}`,
    ownerOf: () => undefined,
    isBeingMigrated: () => false,
    hasLinks: async () => false,
    remove: () => undefined,
  };

  podmanUsers(): [] {
    return [];
  }

  warnings(): string[] {
    return [];
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

  isNetnsLeft(): boolean {
    return false;
  }

  close(): void {
    // There is nothing to let go of.
  }

  #plan(desired: Desired): Step[] {
    if (desired.kind === 'refused') return [];
    const { id } = desired;
    const uids = desired.kind === 'access' ? desired.podman.map((user) => user.uid) : [];
    const isSettled = (this.on.get(id) ?? []).join() === uids.join();
    return isSettled ? [] : [this.#switch(id, uids)];
  }

  #switch(id: string, uids: readonly number[]): Step {
    const removes = uids.length === 0;
    return step(`switch ${id}`, removes, () => {
      if (removes) this.onLoss(id);
      if (removes) this.on.delete(id);
      else this.on.set(id, uids);
    });
  }
}

function step(what: string, removes: boolean, change: () => unknown): Step {
  return { kind: 'acl', what, removes, apply: () => void change() };
}
