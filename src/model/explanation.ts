import * as z from 'zod';
import { AllocationStateSchema, GateRefusalSchema, LastErrorSchema } from './status.ts';

/**
 * What the agent says of one allocation over the admin socket: what was decided and why, and how far the host is. As in status.ts, the
 * schemas are for who asks, and times are milliseconds since the Unix epoch.
 */

/** Why something is refused; `code` is stable. */
const RefusalSchema = z.object({ code: z.string(), reason: z.string() }).readonly();
export type Refusal = z.infer<typeof RefusalSchema>;

const UserSchema = z.object({ name: z.string(), uid: z.number() }).readonly();

/** A volume that a task mounts. */
const VolumeExplanationSchema = z
  .object({
    name: z.string(),
    type: z.string(),
    source: z.string(),
    readOnly: z.boolean(),
    /** Of a host volume, where Nomad has it. */
    path: z.string().optional(),
  })
  .readonly();

/** The entry of the policy that allows a task its user: its place, from 1, and what it is for. */
const PolicyEntryExplanationSchema = z
  .object({ place: z.number(), namespace: z.string(), jobs: z.string() })
  .readonly();

/** Whom one task runs as, and why. */
const TaskExplanationSchema = z
  .object({
    name: z.string(),
    driver: z.string(),
    /** Of a task of another driver, the `user` of its job, where it has one. */
    otherUser: z.string().optional(),
    /** Where its meta, its group's or its job's has the key: the first one decides, an empty one for nobody. */
    meta: z.array(z.object({ level: z.enum(['task', 'group', 'job']), value: z.string() }).readonly()).readonly(),
    /** Whom its meta names. */
    user: UserSchema.optional(),
    /** Whom it runs as: where a change of user came too late, not the one that its meta names. */
    runsAs: UserSchema.optional(),
    /** Undefined where there is no policy: every configured user is everybody's. */
    policy: z.object({ entry: PolicyEntryExplanationSchema.optional() }).readonly().optional(),
    refusal: RefusalSchema.optional(),
    volumes: z.array(VolumeExplanationSchema).readonly(),
  })
  .readonly();
export type TaskExplanation = z.infer<typeof TaskExplanationSchema>;

/** `missing` and `left` are done and removed in a pass; `waiting` is for something else; `refused` and `failed` say why. */
const PartStateSchema = z.enum(['done', 'missing', 'left', 'waiting', 'refused', 'failed']);
export type PartState = z.infer<typeof PartStateSchema>;

/** One kind of thing that an allocation needs on this host, and what is still to be done, in words. */
const PartExplanationSchema = z
  .object({ kind: z.string(), state: PartStateSchema, what: z.array(z.string()).readonly() })
  .readonly();
export type PartExplanation = z.infer<typeof PartExplanationSchema>;

/** `GET /v1/explain/<id>`. */
export const ExplanationSchema = z
  .object({
    id: z.string(),
    namespace: z.string(),
    jobId: z.string(),
    /** The job that Nomad made this one of: a parameterized or periodic one. */
    parentJobId: z.string().optional(),
    taskGroup: z.string(),
    metaKey: z.string(),
    /** `unmanaged`: no task names a user. `gone`: it is on another node. */
    verdict: z.enum(['access', 'refused', 'unmanaged', 'finished', 'gone']),
    /** Where it is refused. */
    refusal: RefusalSchema.optional(),
    /** Undefined where no pass over it has come to its end: it is unmanaged, or the first one runs. */
    state: AllocationStateSchema.optional(),
    /** Since when it is in that state. */
    since: z.number().optional(),
    lastError: LastErrorSchema.optional(),
    /** Why Nomad did not say more of it when it was last asked. */
    readError: LastErrorSchema.optional(),
    /** Changes of users that came too late for what runs, in words. */
    notApplied: z.array(z.string()).readonly(),
    tasks: z.array(TaskExplanationSchema).readonly(),
    parts: z.array(PartExplanationSchema).readonly(),
    /** What a gate has last turned away of it, the newest first. */
    turnedAway: z.array(GateRefusalSchema).readonly().optional(),
  })
  .readonly();
export type Explanation = z.infer<typeof ExplanationSchema>;
