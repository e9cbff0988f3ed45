import type { TaskConfig } from './container-create.ts';
import { portEnvironment } from './ports.ts';

/** Where a task finds the directories of its allocation. */
export interface TaskPaths {
  readonly alloc: string;
  readonly local: string;
  readonly secrets: string;
}

/** What Nomad puts into a task's environment, as recorded. */
export function taskEnvironment(
  { allocationId, job, task, network, ports }: TaskConfig,
  paths: TaskPaths,
): Record<string, string> {
  const meta = { ...job.meta, ...job.groupMeta, ...task.meta };
  const group = job.group ?? 'g';
  return {
    NOMAD_ALLOC_DIR: paths.alloc,
    NOMAD_ALLOC_ID: allocationId,
    NOMAD_ALLOC_INDEX: '0',
    NOMAD_ALLOC_NAME: `${job.id}.${group}[0]`,
    NOMAD_CPU_CORES: ' ',
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
    NOMAD_PARENT_CGROUP: 'nomad.slice',
    NOMAD_REGION: 'global',
    NOMAD_SECRETS_DIR: paths.secrets,
    NOMAD_SHORT_ALLOC_ID: allocationId.slice(0, 8),
    NOMAD_TASK_DIR: paths.local,
    NOMAD_TASK_NAME: task.name,
    ...portEnvironment(ports, network?.status),
    ...task.env,
  };
}
