import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mustRun } from './command.ts';
import { SANDBOX_DIRECTORY } from './namespaces.ts';

const BUSYBOX = '/bin/busybox';
const TAR = join(SANDBOX_DIRECTORY, 'busybox.tar');

/**
 * The root file system of a small image as a tar file for `podman import`: busybox-static with a link for each applet.
 * Made once in the namespaces' life.
 * @returns the tar file's path, readable by everybody
 */
export async function busyboxTar(): Promise<string> {
  if (existsSync(TAR)) return TAR;
  const root = mkdtempSync(join(tmpdir(), 'busybox-'));
  for (const directory of ['bin', 'etc', 'proc', 'sys', 'dev', 'run']) mkdirSync(join(root, directory));
  mkdirSync(join(root, 'tmp'));
  copyFileSync(BUSYBOX, join(root, 'bin/busybox'));
  const applets = (await mustRun([BUSYBOX, '--list'])).split('\n').filter((name) => name !== '' && name !== 'busybox');
  for (const applet of applets) symlinkSync('busybox', join(root, 'bin', applet));
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\napp:x:1000:1000:app:/:/bin/sh\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\napp:x:1000:\n');
  await mustRun(['chmod', '755', root]);
  await mustRun(['chmod', '1777', join(root, 'tmp')]);
  await mustRun(['tar', '--directory', root, '--create', '--file', `${root}.tar`, '.']);
  renameSync(`${root}.tar`, TAR);
  rmSync(root, { recursive: true });
  return TAR;
}
