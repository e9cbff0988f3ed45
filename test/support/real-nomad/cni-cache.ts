import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from '../command.ts';
import type { Sandbox } from '../sandbox.ts';

/**
 * Nomad's libcni keeps the results of CNI plugins in /var/lib/cni, wherever Nomad's data_dir is. This makes what is written
 * below /var/lib go to the sandbox: a cover for that one directory would have to be mounted on it, and so it would have to
 * be there, and stay, on the machine.
 * @returns what takes the cover away
 */
export async function coverCniCache(sandbox: Sandbox): Promise<() => Promise<void>> {
  const upper = join(sandbox.directory, 'var-lib/upper');
  const work = join(sandbox.directory, 'var-lib/work');
  for (const directory of [upper, work]) mkdirSync(directory, { recursive: true });
  const layers = `lowerdir=/var/lib,upperdir=${upper},workdir=${work}`;
  await mustRun(['mount', '-t', 'overlay', '-o', layers, 'var-lib', '/var/lib']);
  return async () => {
    await mustRun(['umount', '--lazy', '/var/lib']);
  };
}
