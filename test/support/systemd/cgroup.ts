import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { mustRun } from '../command.ts';
import { until } from '../until.ts';

const CGROUPS = '/sys/fs/cgroup';
const PREFIX = 'nomad-rootless-systemd-';

/**
 * Makes a cgroup for a machine. Cgroups outlive the throwaway namespaces.
 * @param directory the machine's, whose name and parent's name make the cgroup's name one of its own
 */
export function makeCgroup(directory: string): string {
  const path = join(CGROUPS, `${PREFIX}${basename(dirname(directory))}-${basename(directory)}`);
  mkdirSync(path);
  return path;
}

/** Removes a machine's cgroup with those in it, once the last process in there has ended. */
export async function removeCgroup(path: string): Promise<void> {
  await until(`nothing runs in ${path}`, () => !isPopulated(path));
  await mustRun(['find', path, '-depth', '-type', 'd', '-delete']);
}

/** Removes what runs of this cache that were killed have left. @param cache with a directory for each run that lives */
export async function removeDeadCgroups(cache: string): Promise<void> {
  for (const name of readdirSync(CGROUPS)) {
    const run = /^nomad-rootless-systemd-(run-\d+)-/.exec(name)?.[1];
    if (run === undefined || existsSync(join(cache, run)) || isPopulated(join(CGROUPS, name))) continue;
    await removeCgroup(join(CGROUPS, name));
  }
}

function isPopulated(path: string): boolean {
  return /^populated 1$/m.test(readFileSync(join(path, 'cgroup.events'), 'utf8'));
}
