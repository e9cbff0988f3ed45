import type { AllocDir, TaskDir } from './alloc-dir.ts';
import type { JobSpec, TaskSpec } from './job.ts';
import type { LogFifo } from './log-fifo.ts';
import { recorded } from './recorded.ts';

/** What the driver is told of a task that it is to start. */
export interface TaskConfig {
  readonly allocationId: string;
  readonly job: JobSpec;
  readonly task: TaskSpec;
  readonly allocDir: AllocDir;
  readonly stdout: LogFifo;
  readonly stderr: LogFifo;
  /** Path of the group's network namespace, where it has one. */
  readonly netns: string | undefined;
}

/** The body of containers/create: the recorded one, with this task's names, paths and network. */
export function createBody(config: TaskConfig, taskDir: TaskDir, image: string, podmanVersion: string): object {
  const { allocationId, task, allocDir } = config;
  const body = recorded.container();
  const { volumes = [] } = task;
  return {
    ...body,
    name: `${task.name}-${allocationId}`,
    command: [...(task.command === undefined ? [] : [task.command]), ...(task.args ?? [])],
    env: environment(config),
    image,
    ...(task.user === undefined ? {} : { user: task.user }),
    log_configuration: { driver: 'k8s-file', path: config.stdout.path },
    mounts: [
      { destination: '/alloc', type: 'bind', source: allocDir.shared },
      { destination: '/local', type: 'bind', source: taskDir.local },
      { destination: '/secrets', type: 'bind', source: taskDir.secrets },
      ...volumes.map((volume) => volumeMount(volume, taskDir.directory)),
    ],
    netns: network(config, podmanVersion),
  };
}

function network({ netns, task }: TaskConfig, podmanVersion: string): { nsmode: string; value?: string } {
  if (netns !== undefined) return { nsmode: 'path', value: netns };
  if (task.networkMode !== undefined) return { nsmode: task.networkMode };
  return { nsmode: Number.parseInt(podmanVersion, 10) >= 5 ? 'pasta' : 'slirp4netns' };
}

/** `source:destination[:options]`; a relative source lies in the task's directory. */
function volumeMount(volume: string, taskDirectory: string): object {
  const [source = '', destination = '', options] = volume.split(':');
  return {
    type: 'bind',
    destination,
    source: source.startsWith('/') ? source : `${taskDirectory}/${source}`,
    ...(options === undefined ? {} : { options: options.split(',') }),
  };
}

function environment({ allocationId, job, task }: TaskConfig): Record<string, string> {
  const meta = { ...job.meta, ...job.groupMeta, ...task.meta };
  const group = job.group ?? 'g';
  return {
    NOMAD_ALLOC_DIR: '/alloc',
    NOMAD_ALLOC_ID: allocationId,
    NOMAD_ALLOC_INDEX: '0',
    NOMAD_ALLOC_NAME: `${job.id}.${group}[0]`,
    NOMAD_CPU_LIMIT: '50',
    NOMAD_DC: 'dc1',
    NOMAD_GROUP_NAME: group,
    NOMAD_JOB_ID: job.id,
    NOMAD_JOB_NAME: job.id,
    NOMAD_MEMORY_LIMIT: '64',
    ...Object.fromEntries(
      Object.entries(meta).flatMap(([key, value]) => [
        [`NOMAD_META_${key}`, value],
        [`NOMAD_META_${key.toUpperCase()}`, value],
      ]),
    ),
    NOMAD_NAMESPACE: job.namespace ?? 'default',
    NOMAD_REGION: 'global',
    NOMAD_SECRETS_DIR: '/secrets',
    NOMAD_SHORT_ALLOC_ID: allocationId.slice(0, 8),
    NOMAD_TASK_DIR: '/local',
    NOMAD_TASK_NAME: task.name,
    ...task.env,
  };
}
