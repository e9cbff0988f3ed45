import { codeOf, messageOf, NotYetError, RefusedError } from '../errors.ts';
import type { PassResult, StepKind } from '../metrics.ts';
import type { Allocation } from '../model/allocation.ts';
import type { Desired } from '../model/desired.ts';
import type { AllocationState, AllocationStatus } from '../model/status.ts';
import type { Listeners } from './listeners.ts';

/** How the last pass over an allocation ended. */
export type Outcome =
  | { readonly kind: 'settled'; readonly desired: Desired; readonly allocation: Allocation | undefined }
  | { readonly kind: 'failed'; readonly error: unknown; readonly retryable: boolean };

/** The code of a change of user that comes too late for what runs. */
export const USER_CHANGED = 'podman_user_changed';

/** What is remembered of an allocation between passes. Everything that decides is read afresh; this is for the gate, for people and for metrics. */
export interface AllocationRecord {
  readonly id: string;
  allocation: Allocation | undefined;
  desired: Desired | undefined;
  outcome: Outcome | undefined;
  /** Why Nomad did not say what it knows of it when it was last asked. */
  readError: unknown;
  /** Failed passes in a row. */
  failures: number;
  /** Of what failed, what has been warned about. */
  warned: string | undefined;
  /** When the outcome last changed in kind, ms since the epoch. */
  since: number;
  /** The uids that its tasks have been prepared for, by task; undefined where that was not seen yet. */
  granted: ReadonlyMap<string, number> | undefined;
  /** Of which kinds all that it needs was there when a pass last came to them. */
  readonly found: Set<StepKind>;
  /** Of the desired state, what has been reported. */
  notApplied: readonly string[];
  /** A container that joins its netns is held at the gate: Nomad has finished the network. */
  isNetnsAwaited: boolean;
  /** The driver has begun to start a task of it. */
  isStarting: boolean;
  /** How often the driver has begun to start a task of it, and of how many of these beginnings a decision knew. */
  starts: number;
  decidedStarts: number;
  /** Who waits for a decision. */
  readonly deciding: Listeners<void>;
  /** What creates of its containers have named as sources of mounts: paths from its directory on. */
  readonly named: Set<string>;
  /** When a container of each task was last to be created, by the monotonic clock, ms. */
  readonly creates: Map<string, number>;
  /** A container of it was found running before it was ready. */
  late: boolean;
  /** The labels it is counted under in the gauge of allocations. */
  counted: { user: string; state: AllocationState }[];
  /** Among whose passes those over it count; that of what is over stays. */
  share: string;
  /** Who waits for the next outcome. */
  readonly waiting: Listeners<Outcome>;
}

/** The share of allocations of which it is not known whose they are, or that are nobody's here. */
export const UNDECIDED = '';

/**
 * The share of an allocation: that of its user. One of several users has a share that is that set of users': what alice makes
 * slow in allocations that she has together with bob is not to count among his own.
 * @returns undefined where nobody has access
 */
export function shareOf(desired: Desired): string | undefined {
  if (desired.kind !== 'access') return undefined;
  return [...new Set(desired.podman.map(({ uid }) => uid))].sort((a, b) => a - b).join();
}

/** A record of an allocation that nothing is known of yet. */
export function newRecord(id: string, now: number): AllocationRecord {
  return {
    id,
    allocation: undefined,
    desired: undefined,
    outcome: undefined,
    readError: undefined,
    failures: 0,
    warned: undefined,
    since: now,
    granted: undefined,
    found: new Set(),
    notApplied: [],
    isNetnsAwaited: false,
    isStarting: false,
    starts: 0,
    decidedStarts: 0,
    deciding: new Set(),
    named: new Set(),
    creates: new Map(),
    late: false,
    counted: [],
    share: UNDECIDED,
    waiting: new Set(),
  };
}

/** The state of an allocation, in the words of the status and of the gauge. */
export function stateOf({ outcome, desired }: Readonly<AllocationRecord>): AllocationState {
  if (!outcome) return 'preparing';
  if (outcome.kind === 'settled') return outcome.desired.kind === 'refused' ? 'refused' : 'ready';
  if (desired?.kind === 'nothing') return 'removing';
  if (outcome.error instanceof RefusedError) return 'refused';
  return outcome.error instanceof NotYetError ? 'waiting' : 'failing';
}

/** What people are told of what keeps an allocation from what it wants; undefined where nothing does. */
export function lastErrorOf({ outcome, desired }: Readonly<AllocationRecord>): AllocationStatus['lastError'] {
  if (outcome?.kind === 'failed') return { code: codeOf(outcome.error), message: messageOf(outcome.error) };
  if (desired?.kind === 'refused') return { code: desired.code, message: desired.reason };
  if (desired?.kind === 'access' && desired.notApplied[0])
    return { code: USER_CHANGED, message: desired.notApplied[0] };
  return undefined;
}

/** The users an allocation counts for; an allocation whose users are not known counts for an empty name. */
export function labelsOf(record: Readonly<AllocationRecord>): { user: string; state: AllocationState }[] {
  const { desired } = record;
  const users = desired?.kind === 'access' ? desired.podman.map((user) => user.name) : [''];
  return users.map((user) => ({ user, state: stateOf(record) }));
}

/** The `result` label of an outcome. */
export function resultOf(outcome: Outcome): PassResult {
  if (outcome.kind === 'failed') return outcome.retryable ? 'retry' : 'failed';
  if (outcome.desired.kind === 'access') return 'settled';
  return outcome.desired.kind === 'refused' ? 'refused' : 'gone';
}
