import type { StepKind } from '../metrics.ts';
import type { Desired } from '../model/desired.ts';
import type { UserNeeds } from '../model/user-needs.ts';

/** One change on the host. `apply` either does it whole or throws; doing it twice does no harm. */
export interface Step {
  readonly kind: StepKind;
  /** For the log and for `cleanup --dry-run`: what is done to what. */
  readonly what: string;
  /** Whether it takes something away. */
  readonly removes: boolean;
  apply(): void | Promise<void>;
}

/**
 * One kind of thing that an allocation needs on this host, and no other allocation has a part in. `plan` observes the host and
 * says which steps are missing; no steps means settled. It changes nothing itself.
 */
export interface Resource {
  readonly kind: StepKind;
  /** @throws NotYetError what cannot be observed or prepared yet, RefusedError what we will not touch */
  plan(desired: Desired): Step[] | Promise<Step[]>;
  /** What people should know of how an allocation has it, in words. */
  notes?(desired: Desired): readonly string[];
}

/**
 * One kind of thing that the allocations of a user have together, so that what is there of it follows from all of them. Its steps
 * are planned and applied in passes over the user, never two at once.
 */
export interface UserResource {
  readonly kind: StepKind;
  /** The users of whom something of it may be on this host, also those who need nothing any more. */
  uids(): Iterable<number>;
  /** The users for whom an allocation needs something of it: it waits for the passes over these. */
  neededBy(desired: Desired & { kind: 'access' }): Iterable<number>;
  /** What one of the user's allocations lacks. @throws as Resource.plan */
  plan(id: string, needs: UserNeeds): Step[] | Promise<Step[]>;
  /** Steps against what none of them needs. Asked only where that is known of all. @throws SyscallError; ParseError */
  planRemoval(needs: UserNeeds): Step[] | Promise<Step[]>;
}

/** One kind of thing that is there for no allocation and no user. `plan` gives steps against what nobody needs. */
export interface NodeResource {
  readonly kind: StepKind;
  plan(): Step[] | Promise<Step[]>;
}

/**
 * The order in which an allocation gets what it needs. Each comes once all before it are there, and a container may be created
 * once all are.
 */
export const ORDER = [
  // The restrictive ACL comes first: from the moment that users are shown anything, nobody must come into the allocation's directory by
  // another way, whose names Nomad's root looks up.
  'acl',
  'view',
  // Into the tree that the view has made.
  'volume',
  'log_fifo',
  // Last: Nomad may not be finished with it when all else is wanted.
  'netns',
] as const satisfies readonly StepKind[];
