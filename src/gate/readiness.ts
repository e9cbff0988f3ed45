import type { AskedCreate, AskedStart } from '../model/admission.ts';

/**
 * What the gate asks of the reconciler. `ready` resolves once the allocation is prepared for that task and user,
 * and rejects with a RefusedError (terminal: the message goes to the job author) or with the signal's reason.
 */
export interface Readiness {
  /** Hints that this allocation will be needed soon: preparing may start. Never throws. */
  prepare(allocationId: string): void;
  /**
   * Resolves once it is known that a task may run as a user; says nothing of when its allocation is ready.
   * @throws RefusedError where it may not; the signal's reason where that is not known before it is aborted
   */
  permitted(start: AskedStart, signal: AbortSignal): Promise<void>;
  /** Resolves when nothing is being done to this allocation. Never rejects. */
  whenIdle(allocationId: string): Promise<void>;
  /**
   * @param request the allocation named by a create body, the task its container name gives, and the uid whose gate it came through
   * @throws RefusedError when the task is not that user's, or the allocation is refused or unknown to Nomad
   */
  ready(request: ReadyRequest, signal: AbortSignal): Promise<ReadyAnswer>;
}

/** What a task may have beside what is its allocation's. */
export interface ReadyAnswer {
  /** Whether an entry of the policy lets it name any path of the host: host_paths of the configuration. */
  readonly mayNameAllPaths: boolean;
}

/** A create that is held. */
export interface ReadyRequest extends AskedCreate {
  /** Whether the container joins the netns of the allocation's group. */
  readonly joinsNetns: boolean;
}
