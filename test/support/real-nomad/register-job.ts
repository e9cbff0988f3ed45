import { identitiesBlock } from '../nomad/identity.ts';
import { diskBlock, driverConfig, type JobSpec, type TaskSpec, volumeMountsBlock, volumesBlock } from '../nomad/job.ts';
import type { LogsSpec } from '../nomad/log-rotator.ts';
import { networkBlock } from '../nomad/ports.ts';
import { templatesBlock } from '../nomad/template.ts';

/** What fits on the disks of the jobs here. */
const LOGS: LogsSpec = { maxFiles: 1, maxFileSizeMb: 1 };

/**
 * The body of `PUT /v1/jobs` for a job as tests write it: one allocation that is placed once, so that a test sees how
 * it ends. Type batch, since a service that has ended is placed again.
 */
export function registration(job: JobSpec): { readonly Job: object } {
  return {
    Job: {
      ID: job.id,
      Name: job.id,
      Type: job.type ?? 'batch',
      Namespace: job.namespace ?? 'default',
      Priority: job.priority ?? 50,
      Datacenters: ['*'],
      Meta: job.meta ?? null,
      TaskGroups: [
        {
          Name: job.group ?? 'g',
          Count: 1,
          Meta: job.groupMeta ?? null,
          Networks: networkBlock(job.networkMode, job.ports),
          RestartPolicy: { Attempts: job.restartAttempts ?? 0, Mode: 'fail', Delay: 1e6, Interval: 60e9 },
          // System jobs are not rescheduled.
          ...(job.type?.startsWith('sys') ? {} : { ReschedulePolicy: { Attempts: 0, Unlimited: false } }),
          EphemeralDisk: diskBlock(job),
          Volumes: volumesBlock(job.volumes),
          Tasks: job.tasks.map(taskOf),
        },
      ],
    },
  };
}

function taskOf(task: TaskSpec): object {
  const { lifecycle } = task;
  const secrets = Object.entries(task.secrets ?? {}).map(([name, content]) => ({
    destination: `secrets/${name}`,
    content,
  }));
  const { maxFiles, maxFileSizeMb } = task.logs ?? LOGS;
  const auth = task.tlsVerify === undefined ? {} : { auth: [{ tls_verify: task.tlsVerify }] };
  return {
    Name: task.name,
    Driver: task.driver ?? 'podman',
    User: task.user ?? '',
    Config: { ...driverConfig(task), ...auth },
    Env: task.env ?? null,
    Meta: task.meta ?? null,
    Lifecycle: lifecycle ? { Hook: lifecycle.hook, Sidecar: lifecycle.sidecar ?? false } : null,
    Templates: templatesBlock([...secrets, ...(task.templates ?? [])]),
    Identities: identitiesBlock(task.identity),
    VolumeMounts: volumeMountsBlock(task.volumeMounts),
    KillTimeout: 1e9,
    LogConfig: { MaxFiles: maxFiles, MaxFileSizeMB: maxFileSizeMb },
    Resources: { CPU: 20, MemoryMB: 32 },
  };
}
