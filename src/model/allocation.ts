import type { VolumeClaim } from './volume.ts';

/** A Nomad allocation, cut down to what decides about access. All of it comes from Nomad; nothing here is trusted further than Nomad is. */
export interface Allocation {
  /** A lower-case UUID. */
  readonly id: string;
  readonly namespace: string;
  readonly jobId: string;
  /** The job that Nomad made this one of: a parameterized job that was dispatched, a periodic one. */
  readonly parentJobId: string | undefined;
  readonly taskGroup: string;
  readonly nodeId: string;
  readonly clientStatus: 'pending' | 'running' | 'complete' | 'failed' | 'lost' | 'unknown';
  readonly modifyIndex: number;
  /** `networks[0].mode` of the group as Nomad has it: "host", "bridge", "none", "cni/<name>"; undefined where the group has no network block. */
  readonly networkMode: string | undefined;
  /** The host and CSI volumes that the group claims. */
  readonly volumes: readonly VolumeClaim[];
  /** Whether a service of the group is in Consul's mesh: then Nomad makes sockets in alloc/tmp, and again when its agent starts. */
  readonly usesConnect: boolean;
  /** Whether the next allocation gets this one's disk: ephemeral_disk with sticky or migrate. */
  readonly keepsDisk: boolean;
  readonly tasks: readonly Task[];
}

/** Where in a job a meta block stands; what stands further in wins, as for Nomad. */
export const META_LEVELS = ['task', 'group', 'job'] as const;
export type MetaLevel = (typeof META_LEVELS)[number];

/** One task of the allocation's group. */
export interface Task {
  readonly name: string;
  readonly driver: string;
  /** The task's `user`; empty where the job sets none. */
  readonly user: string;
  readonly meta: Readonly<Record<MetaLevel, Readonly<Record<string, string>>>>;
  /** Whether it says itself what network it joins (`network_mode` of the driver's config): it need not be the group's. */
  readonly hasOwnNetwork: boolean;
  /** The names of the group's volumes that the task mounts. */
  readonly volumes: readonly string[];
  /** Those of them that it mounts with selinux_label = "z". */
  readonly sharedVolumes: readonly string[];
  /** Where identities are written that have a path of their own: from the task's directory on. */
  readonly identityFiles: readonly string[];
  readonly templates: readonly Template[];
  /** The file in local/ that the payload of a dispatch is written to; empty where it is not. */
  readonly dispatchPayload: string;
  /** Where artifacts are put: from the task's directory on. */
  readonly artifacts: readonly string[];
  /** Nomad's state of the task; undefined where the client has not reported it yet. */
  readonly state: 'pending' | 'running' | 'dead' | undefined;
}

/** A template of a task; paths from the task's directory on, the source empty where the job has the text. */
export interface Template {
  readonly source: string;
  readonly destination: string;
  /** Whether Nomad reads the result back into the task's environment. */
  readonly isEnvironment: boolean;
}

const ALLOCATION_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether a string is an allocation id in the form Nomad gives it. Whatever becomes part of a path passes through here first. */
export function isAllocationId(text: string): boolean {
  return ALLOCATION_ID.test(text);
}

/**
 * Whether Nomad is done with the allocation, so that nothing of ours has to stay. A task that is not dead keeps it
 * alive whatever the client status says: a poststop task starts after the allocation looks complete.
 */
export function isFinished(allocation: Allocation): boolean {
  const terminal = ['complete', 'failed', 'lost'].includes(allocation.clientStatus);
  return terminal && allocation.tasks.every((task) => task.state === 'dead' || task.state === undefined);
}
