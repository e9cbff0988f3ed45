import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { SandboxUser } from './sandbox-user.ts';

/** Processes of hers that could be a Podman, each to be looked at. */
const PROCESSES = 30;

/**
 * Listens at the path of her podman.sock in the host's own namespaces, answers nobody, and stops every program that looks at
 * what is hers, which runs as she does.
 */
const PROGRAM = `
const fs = require('node:fs');
const [socket, count] = process.argv.slice(1);
fs.rmSync(socket, { force: true });
require('node:net').createServer(() => undefined).listen(socket, () => {
  const { spawn } = require('node:child_process');
  for (let made = 0; made < Number(count); made++) {
    spawn('unshare', ['--user', '--map-root-user', '--mount', 'sleep', '1000'], { stdio: 'ignore' });
  }
  setTimeout(() => console.log('listening'), 1000);
});
setInterval(() => {
  for (const pid of fs.readdirSync('/proc')) {
    try {
      if (!/^\\d+$/.test(pid) || fs.statSync('/proc/' + pid).uid !== process.getuid()) continue;
      const [, name, state] = /\\((.*)\\) (.)/.exec(fs.readFileSync('/proc/' + pid + '/stat', 'utf8'));
      if (['find', 'grep'].includes(name) && state !== 'T') process.kill(Number(pid), 'SIGSTOP');
    } catch {}
  }
}, 4);
`;

/** Has all looks at a user's Podman end only when they are given up, until it is disposed of; her Podman is gone. */
export async function startSlowLooks(user: SandboxUser): Promise<AsyncDisposable> {
  await user.stopService();
  const as = [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups', '--'];
  const argv = [...as, process.execPath, '-e', PROGRAM, user.socket, String(PROCESSES)];
  const child = spawn('setpriv', argv, { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  await once(child.stdout, 'data');
  return { [Symbol.asyncDispose]: () => end(child) };
}

async function end(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  process.kill(-(child.pid ?? 0), 'SIGKILL');
  await ended;
}
