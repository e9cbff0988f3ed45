import type { MountedVolume } from './create-body.ts';

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
  permitted(start: Pick<ReadyRequest, 'allocationId' | 'task' | 'uid'>, signal: AbortSignal): Promise<void>;
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

/** Which task of which allocation asks to be created, through whose gate. */
export interface ReadyRequest {
  readonly allocationId: string;
  readonly task: string;
  readonly uid: number;
  /** Whether the container joins the netns of the allocation's group. */
  readonly joinsNetns: boolean;
  /** What it mounts of the allocation's directory: paths from there on, empty for itself. */
  readonly mounts: readonly string[];
  /** A mount of what is Nomad's that Podman is to label for this container alone; undefined where there is none. */
  readonly privateLabel?: string | undefined;
  /** What it mounts of Nomad's data dir beside the allocation's directory. */
  readonly volumes: readonly MountedVolume[];
}
