import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { until } from '../until.ts';

/** A client whose node cannot be registered at once tries again after up to 30 s. */
const READY_TIMEOUT_MS = 45_000;

/** One `nomad agent`, the one on PATH. Its configuration and its log lie side by side: `<path>.hcl`, `<path>.log`. */
export class NomadProcess {
  readonly #path: string;
  #process: ChildProcess | undefined;

  constructor(path: string, config: string) {
    this.#path = path;
    writeFileSync(`${path}.hcl`, config);
  }

  /** Starts it and waits until `isReady` says so; an error that it throws counts as not yet. @throws Error with the end of its log when it ends before */
  async start(isReady: () => Promise<boolean>): Promise<void> {
    if (this.#process) throw new Error(`${this.#path} runs already`);
    const log = openSync(`${this.#path}.log`, 'a');
    const started = spawn('nomad', ['agent', '-config', `${this.#path}.hcl`], { stdio: ['ignore', log, log] });
    closeSync(log);
    this.#process = started;
    const state = await until(
      `${this.#path} is ready`,
      async () => (started.exitCode === null ? (await isReady()) && 'ready' : 'ended'),
      READY_TIMEOUT_MS,
    );
    if (state === 'ended') throw new Error(`${this.#path} has ended:\n${this.log().split('\n').slice(-20).join('\n')}`);
  }

  /** The pids of the processes that it has started whose program is named so. */
  children(program: string): number[] {
    const pid = this.#process?.pid;
    if (pid === undefined) return [];
    // Each thread has the children that it has made.
    const listed = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    );
    return listed.filter((child) =>
      readFileSync(`/proc/${child}/cmdline`, 'utf8').split('\0', 1)[0]?.endsWith(`/${program}`),
    );
  }

  /** Stops it by a signal and waits until it has ended; nothing where it does not run. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    const ended = once(running, 'exit');
    running.kill(signal);
    await ended;
  }

  /** What it has logged so far. */
  log(): string {
    return readFileSync(`${this.#path}.log`, 'utf8');
  }
}
