import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * A process that looks to the kernel like a user's rootless Podman service: all its uids the user's, a user namespace
 * that the user made, a mount namespace in it, and a unix socket on which it listens. It takes one shell command a line
 * on standard input, runs it in there as the namespace's root, and answers with one line of JSON: {code, output}.
 */
export class PodmanLikeProcess {
  readonly socket: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, socket: string) {
    this.#child = child;
    this.socket = socket;
  }

  /** @param propagation of mounts from the host into its mount namespace, as unshare(1) names it: real Podman's is `slave` */
  static async start(
    uid: number,
    socket: string,
    propagation: 'private' | 'slave' = 'private',
  ): Promise<PodmanLikeProcess> {
    const as = ['--reuid', String(uid), '--regid', String(uid), '--clear-groups'];
    const argv = [
      ...as,
      'unshare',
      '--user',
      '--map-root-user',
      '--mount',
      '--propagation',
      propagation,
      process.execPath,
      '-e',
      SERVICE,
      socket,
    ];
    const child = spawn('setpriv', argv, { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' });
    const one = new PodmanLikeProcess(child, socket);
    await one.#line();
    return one;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Runs a shell command in its namespaces, as a process of the user. */
  async run(command: string): Promise<{ code: number; output: string }> {
    const answer = this.#line();
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    return JSON.parse(await answer);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }

  async #line(): Promise<string> {
    const [chunk]: [Buffer] = (await once(this.#child.stdout ?? this.#child, 'data')) as [Buffer];
    return chunk.toString().trim();
  }
}

const SERVICE = `
const { spawnSync } = require('node:child_process');
require('node:net').createServer((s) => s.end()).listen(process.argv[1], () => console.log('listening'));
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { status, stdout, stderr } = spawnSync('/bin/sh', ['-c', JSON.parse(line)], { encoding: 'utf8' });
  console.log(JSON.stringify({ code: status, output: stdout + stderr }));
});
`;
