import * as z from 'zod';
import { ParseError } from '../errors.ts';
import { type Allocation, isAllocationId, type Task } from '../model/allocation.ts';
import { parse } from '../parse.ts';

const uuid = z.string().refine(isAllocationId, 'a lower-case UUID');
/** Go marshals an empty map or list as null. */
const meta = z.record(z.string(), z.string()).nullish();

const identity = z.object({ File: z.boolean().default(false), Filepath: z.string().default('') });
const template = z.object({
  SourcePath: z.string().nullish(),
  DestPath: z.string().nullish(),
  Envvars: z.boolean().nullish(),
});
const services = z.array(z.object({ Connect: z.unknown() })).nullish();

const task = z.object({
  Name: z.string().min(1),
  Driver: z.string(),
  User: z.string().default(''),
  Meta: meta,
  VolumeMounts: z.array(z.object({ Volume: z.string(), SELinuxLabel: z.string().nullish() })).nullish(),
  Identity: identity.nullish(),
  Identities: z.array(identity).nullish(),
  Templates: z.array(template).nullish(),
  DispatchPayload: z.object({ File: z.string().nullish() }).nullish(),
  Artifacts: z.array(z.object({ RelativeDest: z.string().nullish() })).nullish(),
  Config: z.object({ network_mode: z.unknown().optional() }).nullish(),
  Services: services,
});

const volume = z.object({
  Type: z.string(),
  Source: z.string(),
  ReadOnly: z.boolean().default(false),
  PerAlloc: z.boolean().default(false),
});

const taskGroup = z.object({
  Name: z.string(),
  Meta: meta,
  Networks: z.array(z.object({ Mode: z.string().optional() })).nullish(),
  Volumes: z.record(z.string(), volume).nullish(),
  Services: services,
  EphemeralDisk: z.object({ Sticky: z.boolean().nullish(), Migrate: z.boolean().nullish() }).nullish(),
  Tasks: z.array(task),
});

const allocation = z.object({
  ID: uuid,
  Name: z.string(),
  Namespace: z.string().min(1),
  JobID: z.string().min(1),
  TaskGroup: z.string(),
  NodeID: uuid,
  ClientStatus: z.enum(['pending', 'running', 'complete', 'failed', 'lost', 'unknown']),
  ModifyIndex: z.int().nonnegative(),
  Job: z.object({ Meta: meta, ParentID: z.string().nullish(), TaskGroups: z.array(taskGroup) }),
  TaskStates: z.record(z.string(), z.object({ State: z.enum(['pending', 'running', 'dead']) })).nullish(),
});

/**
 * An allocation as Nomad's API gives it (openapi/nomad.yaml, `Allocation`), cut down to the model's. Nomad gives the
 * meta of job, group and task unmerged.
 * @throws ParseError where the JSON is not an allocation with its job, such as the ones in events are
 */
export function parseAllocation(json: unknown): Allocation {
  const where = `allocation ${allocationIdIn(json) ?? 'of unknown id'}`;
  const { Job: job, TaskStates: states, ...found } = parse(allocation, json, where);
  const group = job.TaskGroups.find((one) => one.Name === found.TaskGroup);
  if (!group) {
    const names = job.TaskGroups.map((one) => one.Name).join(', ');
    throw new ParseError(`${where}.Job.TaskGroups`, `the group ${JSON.stringify(found.TaskGroup)}`, `only ${names}`);
  }
  const stateOf = new Map(Object.entries(states ?? {}));
  return {
    id: found.ID,
    namespace: found.Namespace,
    jobId: found.JobID,
    parentJobId: job.ParentID || undefined,
    taskGroup: found.TaskGroup,
    nodeId: found.NodeID,
    clientStatus: found.ClientStatus,
    modifyIndex: found.ModifyIndex,
    networkMode: group.Networks?.[0]?.Mode,
    volumes: Object.entries(group.Volumes ?? {}).map(([name, { Type, Source, ReadOnly, PerAlloc }]) => ({
      name,
      type: Type,
      source: PerAlloc ? `${Source}${suffixOf(found.Name)}` : Source,
      readOnly: ReadOnly,
    })),
    usesConnect: [group, ...group.Tasks].some(({ Services }) =>
      (Services ?? []).some(({ Connect }) => Boolean(Connect)),
    ),
    keepsDisk: Boolean(group.EphemeralDisk?.Sticky || group.EphemeralDisk?.Migrate),
    tasks: group.Tasks.map((one) => ({
      name: one.Name,
      driver: one.Driver,
      user: one.User,
      meta: { task: one.Meta ?? {}, group: group.Meta ?? {}, job: job.Meta ?? {} },
      hasOwnNetwork: Boolean(one.Config?.network_mode),
      volumes: (one.VolumeMounts ?? []).map(({ Volume }) => Volume),
      sharedVolumes: (one.VolumeMounts ?? []).flatMap(({ Volume, SELinuxLabel }) =>
        SELinuxLabel === 'z' ? [Volume] : [],
      ),
      ...filesOf(one),
      state: stateOf.get(one.Name)?.State,
    })),
  };
}

/** What Nomad writes for a task, and where. */
function filesOf({
  Identity,
  Identities,
  Templates,
  DispatchPayload,
  Artifacts,
}: z.output<typeof task>): Pick<Task, 'identityFiles' | 'templates' | 'dispatchPayload' | 'artifacts'> {
  const identities = [...(Identity ? [Identity] : []), ...(Identities ?? [])];
  return {
    identityFiles: identities.filter(({ File, Filepath }) => File && Filepath !== '').map(({ Filepath }) => Filepath),
    templates: (Templates ?? []).map(({ SourcePath, DestPath, Envvars }) => ({
      source: SourcePath ?? '',
      destination: DestPath ?? '',
      isEnvironment: Envvars ?? false,
    })),
    dispatchPayload: DispatchPayload?.File ?? '',
    artifacts: (Artifacts ?? []).map(({ RelativeDest }) => RelativeDest ?? ''),
  };
}

/** What Nomad appends to the source of a volume that each allocation has for itself: `[0]` of `web.group[0]` (AllocSuffix in nomad/structs/funcs.go). */
function suffixOf(name: string): string {
  const at = name.lastIndexOf('[');
  return at === -1 ? '' : name.slice(at);
}

/** The id that a piece of JSON has if it is anything like an allocation, to say which one could not be read. */
export function allocationIdIn(json: unknown): string | undefined {
  if (typeof json !== 'object' || json === null || !('ID' in json)) return undefined;
  return typeof json.ID === 'string' && isAllocationId(json.ID) ? json.ID : undefined;
}

/** The namespace of a piece of JSON that is anything like an allocation. */
export function namespaceIn(json: unknown): string | undefined {
  if (typeof json !== 'object' || json === null || !('Namespace' in json)) return undefined;
  return typeof json.Namespace === 'string' ? json.Namespace : undefined;
}
