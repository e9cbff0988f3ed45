import type { Allocation, Task } from './allocation.ts';

/** The podman driver's name in a job: the tasks that we serve. */
export const PODMAN_DRIVER = 'podman';

/**
 * What a task's meta names as its podman user: a user name or a numeric uid. Undefined where the key is missing or
 * empty; `problem` where the value cannot be one.
 */
export type PodmanUser = { readonly user: string | number } | { readonly problem: string } | undefined;

/** Reads the podman user of a task. The meta is already merged: task over group over job. */
export function podmanUserOf(task: Task, metaKey: string): PodmanUser {
  const value = task.meta[metaKey];
  if (value === undefined || value === '') return undefined;
  if (value !== value.trim()) return { problem: `${metaKey} = ${JSON.stringify(value)} has spaces around it` };
  if (value.includes('${')) {
    return {
      problem: `${metaKey} = ${JSON.stringify(value)} is not interpolated by Nomad in meta; write the user's name`,
    };
  }
  if (/^\d+$/.test(value)) {
    const uid = Number(value);
    return uid < 2 ** 32 - 1 ? { user: uid } : { problem: `${metaKey} = ${value} is no uid` };
  }
  if (/[\s:/\0]/.test(value)) return { problem: `${metaKey} = ${JSON.stringify(value)} is no user name` };
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
