import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import type { SandboxUser } from './sandbox-user.ts';

/** Answers each request with the text that it is given. */
const PROGRAM = `
  const [socket, text] = process.argv.slice(1);
  require('node:http').createServer((_, response) => response.end(text)).listen(socket, () => console.log('listens'));
`;

/**
 * Has a process listen where a user's Podman would, in its stead, and say that it is another one.
 * @param uid whose process it is
 * @returns what ends it
 */
export async function playPodman(
  { socket, uid: own }: SandboxUser,
  { version = '5.4.2', rootless = true, cgroups = 'v2' },
  uid = own,
): Promise<() => Promise<void>> {
  rmSync(socket, { force: true });
  const host = { cgroupVersion: cgroups, cgroupControllers: ['cpu', 'memory', 'pids'], security: { rootless } };
  const info = { host, store: { graphDriverName: 'overlay' }, version: { Version: version } };
  const argv = ['-e', PROGRAM, socket, JSON.stringify(info)];
  const child = spawn(process.execPath, argv, { uid, gid: uid, cwd: '/', stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return async () => {
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
}
