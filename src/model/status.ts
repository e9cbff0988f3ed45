import * as z from 'zod';

/**
 * What the agent says of itself over the admin socket. The schemas are for who asks: whatever else uses this file imports its types alone,
 * so that the agent does not load what reads its own words. Times are milliseconds since the Unix epoch.
 */

/** `waiting` and `failing` are tried again (the host is not there yet; something broke); `refused` waits for a change. */
export const AllocationStateSchema = z.enum(['preparing', 'ready', 'waiting', 'refused', 'failing', 'removing']);
export type AllocationState = z.infer<typeof AllocationStateSchema>;

/** What keeps something from what it should be; `code` is stable. */
export const LastErrorSchema = z.object({ code: z.string(), message: z.string() }).readonly();

/** A request that a gate turned away. */
export const GateRefusalSchema = z
  .object({
    at: z.number(),
    /** Whose gate it was. */
    user: z.string(),
    /** Where the request named one that is the user's. */
    allocationId: z.string().optional(),
    task: z.string().optional(),
    code: z.string(),
    /** As the job author reads it. */
    reason: z.string(),
  })
  .readonly();
export type GateRefusal = z.infer<typeof GateRefusalSchema>;

/** A create, or the start of a container from before, that a gate holds until its allocation is ready. */
const HeldCreateSchema = z
  .object({
    /** Whose gate it is. */
    user: z.string(),
    since: z.number(),
    /** Undefined while Nomad has not said where its allocations are. */
    allocationId: z.string().optional(),
    task: z.string().optional(),
  })
  .readonly();
export type HeldCreate = z.infer<typeof HeldCreateSchema>;

/** What allocations leave behind, where something went wrong: a container in a user's Podman, a network that was migrated. */
const GhostKindSchema = z.enum(['container', 'network']);
export type GhostKind = z.infer<typeof GhostKindSchema>;

/** Something that an allocation which is over has left behind. */
const GhostStatusSchema = z
  .object({
    kind: GhostKindSchema,
    /** The name of a container, the path of a network namespace. */
    name: z.string(),
    allocationId: z.string(),
    /** Whose it is. */
    user: z.string(),
    /** Of a container Podman's word: created, running, exited, … */
    state: z.string(),
    /** Since when it is known. */
    since: z.number(),
    /** When it is removed, if nothing changes; undefined where it is only told of. */
    removedAt: z.number().optional(),
    /** Why it is one, in words. */
    why: z.string(),
    /** Why it could not be looked at, or removed. */
    lastError: LastErrorSchema.optional(),
  })
  .readonly();
export type GhostStatus = z.infer<typeof GhostStatusSchema>;

/** What the agent knows of one user of the configuration. */
const UserStatusSchema = z
  .object({
    name: z.string(),
    /** Undefined while the host does not know the user. */
    uid: z.number().optional(),
    /** The socket that the driver is to be given; undefined where there are no gates. */
    gate: z.string().optional(),
    /** Whether the user's Podman answers. */
    podman: z.enum(['unknown', 'up', 'down']),
    version: z.string().optional(),
    /** Since when that is so. */
    since: z.number(),
    /** Why it does not answer, with the remedy. */
    problem: z.string().optional(),
  })
  .readonly();
export type UserStatus = z.infer<typeof UserStatusSchema>;

/** What the agent knows of one allocation. */
const AllocationStatusSchema = z
  .object({
    id: z.string(),
    namespace: z.string(),
    jobId: z.string(),
    taskGroup: z.string(),
    /** Names of its podman users; a uid in digits where it has no name. */
    users: z.array(z.string()).readonly(),
    /** Whether all that the users' Podman is to be shown of it was mounted when a pass last looked; `none` where there is, and is to be, nothing. */
    view: z.enum(['mounted', 'missing', 'none']),
    /** Whether the ACLs on its directories were as they are to be when a pass last looked; `none` where there are, and are to be, none. */
    acl: z.enum(['set', 'missing', 'none']),
    /** The network namespace of its group: migrated to its user, not yet, or `none` where the group has none. */
    netns: z.enum(['owned', 'missing', 'none']),
    state: AllocationStateSchema,
    /** Since when it is in that state. */
    since: z.number(),
    lastError: LastErrorSchema.optional(),
    /** Whether one of its containers ran before it was ready. */
    late: z.boolean(),
  })
  .readonly();
export type AllocationStatus = z.infer<typeof AllocationStatusSchema>;

/** `GET /v1/status`. */
export const AgentStatusSchema = z
  .object({
    version: z.string(),
    /** Nomad's id of this node; empty until Nomad has said it. */
    nodeId: z.string(),
    startedAt: z.number(),
    nomad: z
      .object({
        /** Whether the event stream stands. */
        connected: z.boolean(),
        /** When this node's allocations were last listed in full. */
        lastListing: z.number().optional(),
      })
      .readonly(),
    ready: z.boolean(),
    /** Why it is not ready, in words; empty where it is. */
    reasons: z.array(z.string()).readonly(),
    /** What people should know and what keeps nothing from working, in words. */
    warnings: z.array(z.string()).readonly(),
    users: z.array(UserStatusSchema).readonly(),
    allocations: z.array(AllocationStatusSchema).readonly(),
    /** What allocations that are over have left on this host. */
    ghosts: z.array(GhostStatusSchema).readonly(),
    /** What the gates hold now, the longest first. */
    held: z.array(HeldCreateSchema).readonly(),
    /** What the gates have last turned away, the newest first: some of each user. */
    refusals: z.array(GateRefusalSchema).readonly(),
  })
  .readonly();
export type AgentStatus = z.infer<typeof AgentStatusSchema>;
