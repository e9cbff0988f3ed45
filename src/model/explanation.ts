import type { MetaValue } from './podman-user.ts';
import type { AllocationState, AllocationStatus, GateRefusal } from './status.ts';

/**
 * What the agent says of one allocation over the admin socket, `GET /v1/explain/<id>`: what was decided and why, and how far
 * the host is. Times are milliseconds since the Unix epoch.
 */
export interface Explanation {
  readonly id: string;
  readonly namespace: string;
  readonly jobId: string;
  /** The job that Nomad made this one of: a parameterized or periodic one. */
  readonly parentJobId?: string | undefined;
  readonly taskGroup: string;
  readonly metaKey: string;
  /** `unmanaged`: no task names a user. `gone`: it is on another node. */
  readonly verdict: 'access' | 'refused' | 'unmanaged' | 'finished' | 'gone';
  /** Where it is refused. */
  readonly refusal?: Refusal | undefined;
  /** Undefined where no pass over it has come to its end: it is none of ours, or the first one runs. */
  readonly state?: AllocationState | undefined;
  /** Since when it is in that state. */
  readonly since?: number | undefined;
  readonly lastError?: AllocationStatus['lastError'];
  /** Why Nomad did not say more of it when it was last asked. */
  readonly readError?: AllocationStatus['lastError'];
  /** Changes of users that came too late for what runs, in words. */
  readonly notApplied: readonly string[];
  readonly tasks: readonly TaskExplanation[];
  readonly parts: readonly PartExplanation[];
  /** What a gate has last turned away of it, the newest first. */
  readonly turnedAway?: readonly GateRefusal[] | undefined;
}

/** Why something must not be; `code` is stable. */
export interface Refusal {
  readonly code: string;
  readonly reason: string;
}

/** Whom one task runs as, and why. */
export interface TaskExplanation {
  readonly name: string;
  readonly driver: string;
  /** Of a task of another driver, the `user` of its job, where it has one. */
  readonly otherUser?: string | undefined;
  /** Where its meta, its group's or its job's has the key: the first one decides, an empty one for nobody. */
  readonly meta: readonly MetaValue[];
  /** Whom its meta names. */
  readonly user?: { readonly name: string; readonly uid: number } | undefined;
  /** Whom it runs as: where a change of user came too late, not the one that its meta names. */
  readonly runsAs?: { readonly name: string; readonly uid: number } | undefined;
  /** Undefined where there is no policy: every configured user is everybody's. */
  readonly policy?: { readonly entry?: PolicyEntryExplanation | undefined } | undefined;
  readonly refusal?: Refusal | undefined;
  readonly volumes: readonly VolumeExplanation[];
}

/** The entry of the policy that allows a task its user: its place, from 1, and what it is for. */
export interface PolicyEntryExplanation {
  readonly place: number;
  readonly namespace: string;
  readonly jobs: string;
}

/** A volume that a task mounts. */
export interface VolumeExplanation {
  readonly name: string;
  readonly type: string;
  readonly source: string;
  readonly readOnly: boolean;
  /** Of a host volume, where Nomad has it. */
  readonly path?: string | undefined;
}

/** One kind of thing that an allocation needs on this host, and what is still to be done, in words. */
export interface PartExplanation {
  readonly kind: string;
  readonly state: PartState;
  readonly what: readonly string[];
}

/** `missing` and `left` are done and taken away in a pass; `waiting` is for something else; `refused` and `failed` say why. */
export type PartState = 'done' | 'missing' | 'left' | 'waiting' | 'refused' | 'failed';
