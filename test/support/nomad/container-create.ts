import { resolve } from 'node:path';
import type { AllocDir, TaskDir } from './alloc-dir.ts';
import type { GroupNetwork } from './group-network.ts';
import type { JobSpec, TaskSpec } from './job.ts';
import type { LogFifo } from './log-fifo.ts';
import type { AllocatedPort } from './ports.ts';
import { recorded } from './recorded.ts';
import { taskEnvironment } from './task-environment.ts';
import type { Variables } from './template.ts';

/** What the driver is told of a task that it is to start. */
export interface TaskConfig {
  readonly allocationId: string;
  readonly job: JobSpec;
  readonly task: TaskSpec;
  readonly allocDir: AllocDir;
  readonly stdout: LogFifo;
  readonly stderr: LogFifo;
  /** The group's network, where it has a namespace of its own. */
  readonly network: GroupNetwork | undefined;
  /** The ports that the group has been given. */
  readonly ports: readonly AllocatedPort[];
  /** Where a volume that the group claims is on this node. */
  readonly sourceOf: (volume: string) => string;
  /** What its templates can show. */
  readonly variables?: Variables;
}

/** Where a container finds the directories of its allocation. */
const CONTAINER_DIRS = { alloc: '/alloc', local: '/local', secrets: '/secrets' };

/** The body of containers/create: the recorded one, with this task's names, paths and network. */
export function createBody(config: TaskConfig, taskDir: TaskDir, image: string, podmanVersion: string): object {
  const { allocationId, task, allocDir } = config;
  const body = recorded.container();
  const { volumes = [] } = task;
  return {
    ...body,
    name: `${task.name}-${allocationId}`,
    command: [...(task.command === undefined ? [] : [task.command]), ...(task.args ?? [])],
    env: taskEnvironment(config, CONTAINER_DIRS),
    image,
    ...(task.user === undefined ? {} : { user: task.user }),
    ...(task.privileged ? { privileged: true } : {}),
    log_configuration: { driver: 'k8s-file', path: config.stdout.path },
    mounts: [
      { destination: '/alloc', type: 'bind', source: allocDir.shared },
      { destination: '/local', type: 'bind', source: taskDir.local },
      { destination: '/secrets', type: 'bind', source: taskDir.secrets },
      ...volumes.map((volume) => volumeMount(volume, taskDir.directory)),
      ...claimedMounts(config),
    ],
    netns: netnsOf(config, podmanVersion),
    ...usernsOf(task),
    ...(task.ipcMode === undefined ? {} : { ipcns: ipcnsOf(task.ipcMode, allocationId) }),
    ...(task.seccomp === undefined ? {} : { seccomp_profile_path: task.seccomp }),
  };
}

/** As the driver writes them (containerMounts in its driver.go). */
function claimedMounts({ job, task, sourceOf }: TaskConfig): object[] {
  return (task.volumeMounts ?? []).map(({ volume, destination, readOnly }) => {
    const isReadOnly = readOnly || job.volumes?.find(({ name }) => name === volume)?.readOnly;
    const options = [...(isReadOnly ? ['ro'] : []), 'rprivate'];
    return { type: 'bind', destination, source: sourceOf(volume), options };
  });
}

/** As the driver writes them (parseUserNSConfig in its driver.go). */
function usernsOf({ userns }: TaskSpec): object {
  if (userns === undefined) return {};
  const isAuto = userns === 'auto';
  const idmappings = { HostUIDMapping: false, HostGIDMapping: false, UIDMap: isAuto ? [] : null, AutoUserNs: isAuto };
  return { userns: { nsmode: userns }, idmappings: { ...idmappings, GIDMap: idmappings.UIDMap, AutoUserNsOpts: {} } };
}

/** As the driver writes it: of another container, by its name or that of its task. */
function ipcnsOf(mode: string, allocationId: string): { nsmode: string; value: string } {
  const [kind, name] = mode.split(':');
  return { nsmode: 'container', value: kind === 'task' ? `${name}-${allocationId}` : `${name}` };
}

function netnsOf({ network, task }: TaskConfig, podmanVersion: string): { nsmode: string; value?: string } {
  if (network) return { nsmode: 'path', value: network.netns };
  if (task.networkMode !== undefined) return { nsmode: task.networkMode };
  return { nsmode: Number.parseInt(podmanVersion, 10) >= 5 ? 'pasta' : 'slirp4netns' };
}

/** `source:destination[:options]`; a relative source lies in the task's directory. */
function volumeMount(volume: string, taskDirectory: string): object {
  const [source = '', destination = '', options] = volume.split(':');
  return {
    type: 'bind',
    destination,
    source: resolve(taskDirectory, source),
    ...(options === undefined ? {} : { options: options.split(',') }),
  };
}
