import { type Allocation, META_LEVELS, type MetaLevel, type Task } from './allocation.ts';

/** The podman driver's name in a job: the tasks that we serve. */
export const PODMAN_DRIVER = 'podman';

/** The value that decides which user a task runs as, and where it stands. */
export interface MetaValue {
  readonly level: MetaLevel;
  readonly value: string;
}

/** What a task's meta names as its podman user: a user name or a numeric uid, or why the value cannot be one. */
type PodmanUser = MetaValue & ({ readonly user: string | number } | { readonly problem: string });

/** Where a task's meta has the key: task, group, job; the first one decides (Nomad's `Job.CombinedTaskMeta`). */
export function metaValuesOf({ meta }: Task, metaKey: string): MetaValue[] {
  return META_LEVELS.flatMap((level) => {
    const value = Object.hasOwn(meta[level], metaKey) ? meta[level][metaKey] : undefined;
    return value === undefined ? [] : [{ level, value }];
  });
}

/** Reads the podman user of a task. Undefined where the key is missing or empty. */
export function podmanUserOf(task: Task, metaKey: string): PodmanUser | undefined {
  const [deciding] = metaValuesOf(task, metaKey);
  return deciding?.value ? { ...deciding, ...userIn(deciding.value, metaKey) } : undefined;
}

function userIn(value: string, metaKey: string): { user: string | number } | { problem: string } {
  const shown = `${metaKey} = ${JSON.stringify(value)}`;
  if (value !== value.trim()) return { problem: `${shown} has spaces around it` };
  if (value.includes('${')) return { problem: `${shown} is not interpolated by Nomad in meta; write the user's name` };
  if (/^\d+$/.test(value)) {
    const uid = Number(value);
    return uid < 2 ** 32 - 1 ? { user: uid } : { problem: `${metaKey} = ${value} is not a uid` };
  }
  if (/[\s:/\0]/.test(value)) return { problem: `${shown} is not a user name` };
  return { user: value };
}

/** The tasks whose containers we prepare for. */
export function podmanTasks(allocation: Allocation): readonly Task[] {
  return allocation.tasks.filter((task) => task.driver === PODMAN_DRIVER);
}

/** Every user that has to be looked up before the desired state can be said: podman users, and `user` of other drivers' tasks. */
export function usersNamedIn(allocation: Allocation, metaKey: string): (string | number)[] {
  const named = new Set<string | number>();
  for (const task of allocation.tasks) {
    const podmanUser = task.driver === PODMAN_DRIVER ? podmanUserOf(task, metaKey) : undefined;
    if (podmanUser && 'user' in podmanUser) named.add(podmanUser.user);
    if (task.driver !== PODMAN_DRIVER && task.user !== '')
      named.add(/^\d+$/.test(task.user) ? Number(task.user) : task.user);
  }
  return [...named];
}
