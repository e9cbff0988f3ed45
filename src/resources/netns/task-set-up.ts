import { type Handle, openMountedBeneath } from '../../linux/handle.ts';
import { O } from '../../linux/libc.ts';
import { isMountedAfter } from '../../linux/mount-stack.ts';
import { stat, statIn } from '../../linux/stat.ts';

/**
 * How far Nomad has set up the tasks of an allocation: `none` has a directory; one has `begun`; one is done, and its secrets
 * directory was mounted `after` the network namespace, or `before` it or at a time that is not known.
 */
export type TaskSetUp = 'none' | 'begun' | 'before' | 'after';

/** A tmpfs that Nomad mounts in the directory of a task (createSecretDir in its client/allocdir/fs_linux.go). */
const TASK_MOUNT = 'secrets';

/**
 * Nomad's client begins with the first task only when all that it does for the allocation is done, CNI ADD included
 * (allocRunner.Run in its client/allocrunner: prerun, then runTasks). But it makes the network namespace anew, at the same
 * path, where it was restarted and CNI CHECK fails: what was mounted before it in a task's directory says nothing then.
 *
 * Only root can mount something there, so nobody else can make a network look finished.
 * @param allocation its directory
 * @param netns as it is mounted; without one nothing is `after`
 * @throws SyscallError
 */
export function taskSetUp(allocation: Handle, tasks: readonly string[], netns?: Handle): TaskSetUp {
  const found = tasks.map((task) => oneSetUp(allocation, task, netns));
  return (['after', 'before', 'begun'] as const).find((one) => found.includes(one)) ?? 'none';
}

function oneSetUp(allocation: Handle, task: string, netns: Handle | undefined): TaskSetUp {
  using directory = openMountedBeneath(allocation, task, O.PATH | O.DIRECTORY | O.NOFOLLOW);
  if (!directory) return 'none';
  // Not opened: Nomad could not unmount it meanwhile.
  const mounted = statIn(directory, TASK_MOUNT);
  if (!mounted || mounted.dev === stat(allocation).dev) return 'begun';
  return netns && isMountedAfter(directory, TASK_MOUNT, netns) ? 'after' : 'before';
}
