import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { until } from './until.ts';

/** Holds pairs of unix sockets. */
const SOCKETS =
  'use Socket; for (1..$ARGV[0]) { socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or die $!; push @s, $a, $b } $| = 1; print "ready\\n"; sleep 1000';

/** What a user has in the way of processes and sockets, so that it takes long to look through; until it is disposed of. */
export class Crowd implements AsyncDisposable {
  readonly #uid: number;
  readonly #started: ChildProcess[] = [];

  constructor(uid: number) {
    this.#uid = uid;
  }

  /** Processes in a user namespace and a mount namespace of their own each, as a Podman's are. */
  async addProcesses(count: number): Promise<void> {
    this.#start(['sh', '-c', `for i in $(seq ${count}); do unshare -U -r -m sleep 1000 & done; wait`]);
    await until('all of them run', () => {
      const running = execFileSync('pgrep', ['--count', '--exact', 'sleep', '-u', String(this.#uid)], {
        encoding: 'utf8',
      });
      return Number(running) >= count;
    });
  }

  /** A process in namespaces of its own that holds that many unix sockets, at most 19,900. */
  async addSockets(count: number): Promise<void> {
    const child = this.#start(['unshare', '-U', '-r', '-m', 'perl', '-e', SOCKETS, String(count / 2)]);
    let said = '';
    child.stdout?.on('data', (chunk) => {
      said += chunk;
    });
    await until('it holds them', () => said === 'ready\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#started) process.kill(-(child.pid ?? 0), 'SIGKILL');
    await until('they have ended', () => this.#started.every(({ exitCode, signalCode }) => exitCode ?? signalCode));
  }

  #start(argv: readonly string[]): ChildProcess {
    const as = [`--reuid=${this.#uid}`, `--regid=${this.#uid}`, '--clear-groups', '--'];
    const limited = ['--nofile=20000', 'setpriv', ...as, ...argv];
    const child = spawn('prlimit', limited, { stdio: ['ignore', 'pipe', 'inherit'], detached: true, cwd: '/' });
    this.#started.push(child);
    return child;
  }
}
