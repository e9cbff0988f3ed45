import { existsSync } from 'node:fs';
import { mustRun } from '../command.ts';

const CONTROLLERS = '/sys/fs/cgroup/cgroup.controllers';
/** Nomad makes its cgroups here whatever `cgroup_parent` says. */
const SLICE = '/sys/fs/cgroup/nomad.slice';

/**
 * Makes Nomad find no cgroup controllers and do without them. It would turn them on at the root, which the kernel
 * refuses where that has processes in it, as the root of a sandbox may: Nomad then does not start.
 * @returns what shows them again and removes the cgroups that Nomad has left, which would outlive the sandbox
 */
export async function hideControllers(): Promise<() => Promise<void>> {
  const isOurs = !existsSync(SLICE);
  await mustRun(['mount', '--bind', '/dev/null', CONTROLLERS]);
  return async () => {
    await mustRun(['umount', CONTROLLERS]);
    if (isOurs && existsSync(SLICE)) await mustRun(['find', SLICE, '-depth', '-type', 'd', '-delete']);
  };
}
