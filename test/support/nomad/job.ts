import { type IdentitySpec, identitiesBlock } from './identity.ts';
import type { LogsSpec } from './log-rotator.ts';
import { type AllocatedPort, networkBlock, type PortSpec } from './ports.ts';
import { type RecordedAllocation, type RecordedTask, recorded, type TaskEvent } from './recorded.ts';
import { type TemplateSpec, templatesBlock } from './template.ts';

/** A job of one group and one allocation, as tests write it. */
export interface JobSpec {
  readonly id: string;
  /** `batch` unless told. */
  readonly type?: 'service' | 'system' | 'sysbatch';
  readonly namespace?: string;
  /** Name of the group; `g` unless told. */
  readonly group?: string;
  readonly meta?: Readonly<Record<string, string>>;
  readonly groupMeta?: Readonly<Record<string, string>>;
  readonly tasks: readonly TaskSpec[];
  /** The mode of the group's network block; without it the group has none. */
  readonly networkMode?: string;
  /** The ports of that block. */
  readonly ports?: readonly PortSpec[];
  /** How often a task that has ended with an error is started again; 0 unless told. */
  readonly restartAttempts?: number;
  /** The volumes that the group claims. */
  readonly volumes?: readonly VolumeSpec[];
  /** Whether what the tasks keep in alloc/data and local/ goes on to the allocation that takes this one's place. */
  readonly keepsDisk?: boolean;
  /** 50 unless told; what can be changed without a new allocation. */
  readonly priority?: number;
}

/** A volume that a group claims, by a name of its own. */
export interface VolumeSpec {
  readonly name: string;
  readonly type: 'host' | 'csi';
  /** The name of the host volume, or the id of the CSI volume. */
  readonly source: string;
  readonly readOnly?: boolean;
}

/** Where a task has a claimed volume. */
export interface VolumeMountSpec {
  readonly volume: string;
  readonly destination: string;
  readonly readOnly?: boolean;
}

/** A task as tests write it. */
export interface TaskSpec {
  readonly name: string;
  /** `podman` unless told; another driver's task runs as a plain process in the task's directory. */
  readonly driver?: string;
  /** Name of the driver's socket block. */
  readonly socket?: string;
  readonly image?: string;
  /** `tls_verify` of the task's driver config, of the registry that its image is pulled from; true unless told. */
  readonly tlsVerify?: boolean;
  readonly command?: string;
  readonly args?: readonly string[];
  readonly meta?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  /** The task's `user`: inside the container for podman, of this machine for other drivers. */
  readonly user?: string;
  readonly lifecycle?: { readonly hook: 'prestart' | 'poststart' | 'poststop'; readonly sidecar?: boolean };
  /** Files that templates write to secrets/: name and content, mode 0644. */
  readonly secrets?: Readonly<Record<string, string>>;
  /** Rendered before the task starts. */
  readonly templates?: readonly TemplateSpec[];
  readonly identity?: IdentitySpec;
  /** Nomad's defaults unless told; one file of 1 MB beside a real one, whose disk they would not fit on. */
  readonly logs?: LogsSpec;
  /** `volumes` of the task's driver config. */
  readonly volumes?: readonly string[];
  readonly volumeMounts?: readonly VolumeMountSpec[];
  /** `privileged` of the task's driver config. */
  readonly privileged?: boolean;
  /** `userns` of the task's driver config: auto or keep-id. */
  readonly userns?: 'auto' | 'keep-id';
  /** `network_mode` of the task's driver config. */
  readonly networkMode?: string;
  /** `ipc_mode` of the task's driver config: `task:<name>` or `container:<name>`. */
  readonly ipcMode?: string;
  /** The profile that `security_opt` of the task's driver config names: `seccomp=<profile>`. */
  readonly seccomp?: string;
}

/** What the servers decide of an allocation: its node, its ports, and when (nanoseconds since the epoch). */
export interface Placement {
  readonly nodeId: string;
  readonly ports: readonly AllocatedPort[];
  readonly now: number;
  /** The parameterized or periodic job that this one was made of. */
  readonly parentId?: string;
}

/** An allocation in the recorded shape, placed on a node and not yet seen by its client. */
export function newAllocation(id: string, job: JobSpec, placement: Placement): RecordedAllocation {
  const { nodeId, ports, now, parentId = '' } = placement;
  const allocation = recorded.allocation();
  const [group] = allocation.Job.TaskGroups;
  const [task] = group?.Tasks ?? [];
  if (!group || !task) throw new Error('the recorded allocation has no task');
  const namespace = job.namespace ?? 'default';
  const tasks = job.tasks.map((spec) => newTask(structuredClone(task), spec));
  const taskGroup = {
    ...group,
    Name: job.group ?? 'g',
    Meta: job.groupMeta ? { ...job.groupMeta } : null,
    Networks: networkBlock(job.networkMode, job.ports),
    Volumes: volumesBlock(job.volumes),
    EphemeralDisk: diskBlock(job),
    Tasks: tasks,
  };
  const Networks = networkBlock(job.networkMode, job.ports, ports);
  const { Shared, ...resources } = allocation.AllocatedResources;
  return {
    ...allocation,
    ID: id,
    Name: `${job.id}.${taskGroup.Name}[0]`,
    Namespace: namespace,
    JobID: job.id,
    NodeID: nodeId,
    TaskGroup: taskGroup.Name,
    DesiredStatus: 'run',
    ClientStatus: 'pending',
    ClientDescription: '',
    CreateTime: now,
    ModifyTime: now,
    Job: {
      ...allocation.Job,
      ID: job.id,
      Name: job.id,
      Namespace: namespace,
      Type: job.type ?? 'batch',
      Priority: job.priority ?? 50,
      ParentID: parentId,
      Meta: job.meta ? { ...job.meta } : null,
      TaskGroups: [taskGroup],
    },
    AllocatedResources: {
      ...perTask(resources, ['Tasks', 'TaskLifecycles'], tasks),
      Shared: { ...Shared, Networks, Ports: ports.length === 0 ? null : [...ports] },
    },
    Resources: { ...allocation.Resources, Networks },
    SharedResources: { ...allocation.SharedResources, Networks },
    TaskResources: Object.fromEntries(tasks.map(({ Name, Resources }) => [Name, Resources])),
    TaskStates: null,
  };
}

/** The config block of a task, for the driver. */
export function driverConfig(spec: TaskSpec): Record<string, unknown> {
  const { image, socket, command, args, volumes, userns, privileged, networkMode, ipcMode, seccomp } = spec;
  const securityOpt = seccomp === undefined ? undefined : [`seccomp=${seccomp}`];
  const config = {
    image,
    socket,
    command,
    args,
    volumes,
    userns,
    privileged,
    network_mode: networkMode,
    ipc_mode: ipcMode,
    security_opt: securityOpt,
  };
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined));
}

function newTask(task: RecordedTask, spec: TaskSpec): RecordedTask {
  return {
    ...task,
    Name: spec.name,
    Driver: spec.driver ?? 'podman',
    User: spec.user ?? '',
    Config: driverConfig(spec),
    Env: spec.env ? { ...spec.env } : null,
    Meta: spec.meta ? { ...spec.meta } : null,
    Lifecycle: spec.lifecycle ? { Hook: spec.lifecycle.hook, Sidecar: spec.lifecycle.sidecar ?? false } : null,
    Templates: spec.templates ? templatesBlock(spec.templates) : null,
    Identities: identitiesBlock(spec.identity),
    VolumeMounts: volumeMountsBlock(spec.volumeMounts),
  };
}

/** The claims of a group as the API has them. */
export function volumesBlock(volumes: readonly VolumeSpec[] | undefined): Record<string, object> | null {
  if (!volumes) return null;
  const claims = volumes.map(({ name, type, source, readOnly = false }) => {
    const mode = type === 'csi' ? 'single-node-writer' : 'single-node-multi-writer';
    const access = { AccessMode: mode, AttachmentMode: 'file-system', MountOptions: null };
    const claim = { Name: name, Type: type, Source: source, ReadOnly: readOnly, PerAlloc: false, Sticky: false };
    return [name, { ...claim, ...access }];
  });
  return Object.fromEntries(claims);
}

/** The volumes of a task as the API has them. */
export function volumeMountsBlock(mounts: readonly VolumeMountSpec[] | undefined): object[] | null {
  if (!mounts) return null;
  return mounts.map(({ volume, destination, readOnly = false }) => {
    const mount = { Volume: volume, Destination: destination, ReadOnly: readOnly };
    return { ...mount, PropagationMode: 'private', SELinuxLabel: '' };
  });
}

/** The disk of a group as the API has it. */
export function diskBlock({ keepsDisk = false }: JobSpec): object {
  return { SizeMB: 10, Sticky: keepsDisk, Migrate: keepsDisk };
}

/** The recorded allocation has one task; its entry in each per-task map is given to all tasks. */
function perTask(resources: unknown, maps: readonly string[], tasks: readonly RecordedTask[]): object {
  const copy: Record<string, unknown> = { ...(resources as Record<string, unknown>) };
  for (const map of maps) {
    const [sample] = Object.values(copy[map] as Record<string, unknown>);
    copy[map] = Object.fromEntries(
      tasks.map(({ Name, Lifecycle }) => [Name, map === 'TaskLifecycles' ? Lifecycle : sample]),
    );
  }
  return copy;
}

/** A task event in the recorded shape, with what this one says. */
export function newTaskEvent(type: string, message: string, fields: Partial<TaskEvent> = {}): TaskEvent {
  const [state] = Object.values(recorded.allocation().TaskStates ?? {});
  const [template] = state?.Events ?? [];
  if (!template) throw new Error('the recorded allocation has no task event');
  return { ...template, Type: type, Time: Date.now() * 1e6, DisplayMessage: message, ...fields };
}
