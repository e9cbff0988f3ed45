import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from '../command.ts';

/** Not needed in the machine, or made there anew. */
const LEFT_OUT = ['.git', 'dist', 'coverage'];
const SIZE = '2G';

/**
 * Makes a disk image with a copy of the project, `project`, and a shell script, `run.sh`, for the machine to run.
 * @returns the image's path, below `directory`
 */
export async function makeProjectDisk(project: string, script: string, directory: string): Promise<string> {
  const content = join(directory, 'disk');
  const image = join(directory, 'project.img');
  mkdirSync(join(content, 'project'), { recursive: true });
  const entries = readdirSync(project).filter((name) => !LEFT_OUT.includes(name));
  await mustRun(['cp', '--archive', ...entries.map((name) => join(project, name)), join(content, 'project')]);
  writeFileSync(join(content, 'run.sh'), script);
  await mustRun(['mkfs.ext4', '-q', '-O', '^has_journal', '-d', content, image, SIZE]);
  rmSync(content, { recursive: true });
  return image;
}
