/** What the agent says about itself over the admin socket, `GET /v1/status`. Times are milliseconds since the Unix epoch. */
export interface AgentStatus {
  readonly version: string;
  /** Nomad's id of this node; empty until Nomad has said it. */
  readonly nodeId: string;
  readonly startedAt: number;
  readonly nomad: {
    /** Whether the event stream stands. */
    readonly connected: boolean;
    /** When this node's allocations were last listed in full. */
    readonly lastListing?: number | undefined;
  };
  readonly ready: boolean;
  /** Why it is not ready, in words; empty where it is. */
  readonly reasons: readonly string[];
  /** What people should know and what keeps nothing from working, in words. */
  readonly warnings: readonly string[];
  readonly users: readonly UserStatus[];
  readonly allocations: readonly AllocationStatus[];
  /** What allocations that are over have left on this host. */
  readonly ghosts: readonly GhostStatus[];
  /** What the gates hold now, the longest first. */
  readonly held: readonly HeldCreate[];
  /** What the gates have last turned away, the newest first: some of each user. */
  readonly refusals: readonly GateRefusal[];
}

/** A create, or the start of a container from before, that a gate holds until its allocation is ready. */
export interface HeldCreate {
  /** Whose gate it is. */
  readonly user: string;
  readonly since: number;
  /** Undefined while Nomad has not said where its allocations are. */
  readonly allocationId?: string | undefined;
  readonly task?: string | undefined;
}

/** A request that a gate turned away. */
export interface GateRefusal {
  readonly at: number;
  /** Whose gate it was. */
  readonly user: string;
  /** Where the request named one that is the user's. */
  readonly allocationId?: string | undefined;
  readonly task?: string | undefined;
  readonly code: string;
  /** As the job author reads it. */
  readonly reason: string;
}

/** What allocations leave behind, where something went wrong: a container in a user's Podman, a network that was handed over. */
export type GhostKind = 'container' | 'network';

/** Something that an allocation which is over has left behind. */
export interface GhostStatus {
  readonly kind: GhostKind;
  /** The name of a container, the path of a network namespace. */
  readonly name: string;
  readonly allocationId: string;
  /** Whose it is. */
  readonly user: string;
  /** Of a container Podman's word: created, running, exited, … */
  readonly state: string;
  /** Since when it is known. */
  readonly since: number;
  /** When it is removed, if nothing changes; undefined where it is only told of. */
  readonly removedAt?: number | undefined;
  /** Why it is one, in words. */
  readonly why: string;
  /** Why it could not be looked at, or removed. */
  readonly lastError?: { readonly code: string; readonly message: string } | undefined;
}

/** What the agent knows of one user of the configuration. */
export interface UserStatus {
  readonly name: string;
  /** Undefined while the host does not know the user. */
  readonly uid?: number | undefined;
  /** The socket that the driver is to be given; undefined where there are no gates. */
  readonly gate?: string | undefined;
  /** Whether the user's Podman answers. */
  readonly podman: 'unknown' | 'up' | 'down';
  readonly version?: string | undefined;
  /** Since when that is so. */
  readonly since: number;
  /** Why it does not answer, with the remedy. */
  readonly problem?: string | undefined;
}

/** What the agent knows of one allocation. */
export interface AllocationStatus {
  readonly id: string;
  readonly namespace: string;
  readonly jobId: string;
  readonly taskGroup: string;
  /** Names of its podman users; a uid in digits where it has no name. */
  readonly users: readonly string[];
  /** What the users' Podman is shown of it; `none` where there is to be nothing. */
  readonly view: 'mounted' | 'missing' | 'none';
  /** The ACLs on its directories; `none` where there are to be none. */
  readonly acl: 'set' | 'missing' | 'none';
  /** The network namespace of its group: handed to its user, not yet, or `none` where the group has none. */
  readonly netns: 'owned' | 'missing' | 'none';
  readonly state: AllocationState;
  /** Since when it is in that state. */
  readonly since: number;
  readonly lastError?: { readonly code: string; readonly message: string } | undefined;
  /** Whether one of its containers ran before it was ready. */
  readonly late: boolean;
}

/** `waiting` and `failing` are tried again (the host is not there yet; something broke); `refused` waits for a change. */
export type AllocationState = 'preparing' | 'ready' | 'waiting' | 'refused' | 'failing' | 'removing';
