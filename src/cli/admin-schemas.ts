import * as z from 'zod';
import type { Explanation } from '../model/explanation.ts';
import type { AgentStatus } from '../model/status.ts';

const state = z.enum(['preparing', 'ready', 'waiting', 'refused', 'failing', 'removing']);
const error = z.object({ code: z.string(), message: z.string() });
const refusal = z.object({ code: z.string(), reason: z.string() });
const user = z.object({ name: z.string(), uid: z.number() });
const meta = z.object({ level: z.enum(['task', 'group', 'job']), value: z.string() });

const gateRefusal = z.object({
  at: z.number(),
  user: z.string(),
  allocationId: z.string().optional(),
  task: z.string().optional(),
  code: z.string(),
  reason: z.string(),
});

/** What `GET /v1/status` gives. */
export const AgentStatusSchema = z.object({
  version: z.string(),
  nodeId: z.string(),
  startedAt: z.number(),
  nomad: z.object({ connected: z.boolean(), lastListing: z.number().optional() }),
  ready: z.boolean(),
  reasons: z.array(z.string()),
  warnings: z.array(z.string()),
  users: z.array(
    z.object({
      name: z.string(),
      uid: z.number().optional(),
      gate: z.string().optional(),
      podman: z.enum(['unknown', 'up', 'down']),
      version: z.string().optional(),
      since: z.number(),
      problem: z.string().optional(),
    }),
  ),
  allocations: z.array(
    z.object({
      id: z.string(),
      namespace: z.string(),
      jobId: z.string(),
      taskGroup: z.string(),
      users: z.array(z.string()),
      view: z.enum(['mounted', 'missing', 'none']),
      acl: z.enum(['set', 'missing', 'none']),
      netns: z.enum(['owned', 'missing', 'none']),
      state,
      since: z.number(),
      lastError: error.optional(),
      late: z.boolean(),
    }),
  ),
  ghosts: z.array(
    z.object({
      kind: z.enum(['container', 'network']),
      name: z.string(),
      allocationId: z.string(),
      user: z.string(),
      state: z.string(),
      since: z.number(),
      removedAt: z.number().optional(),
      why: z.string(),
      lastError: error.optional(),
    }),
  ),
  held: z.array(
    z.object({
      user: z.string(),
      since: z.number(),
      allocationId: z.string().optional(),
      task: z.string().optional(),
    }),
  ),
  refusals: z.array(gateRefusal),
}) satisfies z.ZodType<AgentStatus>;

/** What `GET /v1/explain/<id>` gives. */
export const ExplanationSchema = z.object({
  id: z.string(),
  namespace: z.string(),
  jobId: z.string(),
  parentJobId: z.string().optional(),
  taskGroup: z.string(),
  metaKey: z.string(),
  verdict: z.enum(['access', 'refused', 'unmanaged', 'finished', 'gone']),
  refusal: refusal.optional(),
  state: state.optional(),
  since: z.number().optional(),
  lastError: error.optional(),
  readError: error.optional(),
  notApplied: z.array(z.string()),
  tasks: z.array(
    z.object({
      name: z.string(),
      driver: z.string(),
      otherUser: z.string().optional(),
      meta: z.array(meta),
      user: user.optional(),
      runsAs: user.optional(),
      policy: z
        .object({ entry: z.object({ place: z.number(), namespace: z.string(), jobs: z.string() }).optional() })
        .optional(),
      refusal: refusal.optional(),
      volumes: z.array(
        z.object({
          name: z.string(),
          type: z.string(),
          source: z.string(),
          readOnly: z.boolean(),
          path: z.string().optional(),
        }),
      ),
    }),
  ),
  parts: z.array(
    z.object({
      kind: z.string(),
      state: z.enum(['done', 'missing', 'left', 'waiting', 'refused', 'failed']),
      what: z.array(z.string()),
    }),
  ),
  turnedAway: z.array(gateRefusal).optional(),
}) satisfies z.ZodType<Explanation>;
