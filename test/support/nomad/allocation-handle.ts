import { readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../until.ts';
import type { AllocDir } from './alloc-dir.ts';
import { addressOf, hostPortOf } from './allocation-network.ts';
import type { AllocationRunner, ClientStatus } from './allocation-runner.ts';
import { netnsPath } from './netns.ts';
import type { ExecResult } from './podman-api.ts';
import type { TaskEvent } from './recorded.ts';
import type { ServerState } from './server-state.ts';

/** One allocation that the stand-in runs. */
export class AllocationHandle {
  readonly id: string;
  readonly allocDir: AllocDir;
  /** `<alloc_dir>/<id>`. */
  readonly directory: string;
  readonly #runner: AllocationRunner;
  readonly #state: ServerState;

  constructor(runner: AllocationRunner, state: ServerState) {
    this.id = runner.id;
    this.allocDir = runner.allocDir;
    this.directory = runner.allocDir.directory;
    this.#runner = runner;
    this.#state = state;
  }

  /** Path of its group's network namespace, where it has one. */
  get netns(): string {
    return netnsPath(this.id);
  }

  /** Its address in its group's network. */
  address(): Promise<string> {
    return addressOf('Address', () => this.#state.allocation(this.id));
  }

  addressIpv6(): Promise<string> {
    return addressOf('AddressIPv6', () => this.#state.allocation(this.id));
  }

  /** The port of the host that leads to a port of its group. */
  hostPort(label: string): number {
    return hostPortOf(label, this.#state.allocation(this.id));
  }

  get status(): ClientStatus {
    return this.#runner.status;
  }

  /** Waits for a client status. @throws Error after 30 s, or when the allocation has ended otherwise, with its tasks' events */
  async waitFor(status: ClientStatus): Promise<void> {
    const ended = () => ['complete', 'failed'].includes(this.status) || this.#runner.failure !== undefined;
    await until(`allocation ${this.id} is ${status}`, () => this.status === status || ended(), 30_000);
    if (this.status === status) return;
    const events = this.#runner.taskNames.map(
      (task) =>
        `${task}: ${this.events(task)
          .map(({ Type, DisplayMessage }) => `${Type}: ${DisplayMessage}`)
          .join('; ')}`,
    );
    const message = `allocation ${this.id}: expected ${status}, got ${this.status} (${events.join(' | ')})`;
    throw new Error(message, { cause: this.#runner.failure });
  }

  /** The lines that a task has written so far, without conmon's time stamps: standard output, then standard error. */
  logs(task: string): readonly string[] {
    return this.#runner.task(task).logs;
  }

  /** Waits until a task has written a line that is equal to a text or matches a pattern. @returns that line */
  waitForLog(task: string, wanted: string | RegExp): Promise<string> {
    return until(`task ${task} writes ${wanted}`, () =>
      this.logs(task).find((line) => (typeof wanted === 'string' ? line === wanted : wanted.test(line))),
    );
  }

  /** Whether the client has come to a task yet. */
  hasTask(task: string): boolean {
    return this.#runner.taskNames.includes(task);
  }

  /** A task's events so far, as `nomad alloc status` shows them. */
  events(task: string): readonly TaskEvent[] {
    return this.#runner.task(task).state.Events;
  }

  /** `nomad alloc exec`, as the driver does it. */
  exec(task: string, command: readonly string[], stdin = ''): Promise<ExecResult> {
    return this.#runner.task(task).exec(command, stdin);
  }

  /** `nomad alloc restart` of one task; waits until it runs again. */
  restart(task: string): Promise<void> {
    return this.#runner.task(task).restart();
  }

  /** `nomad alloc fs cat`. @throws Error where the path leads out of the allocation, or to secrets (AllocDir.ReadAt) */
  async readFile(path: string): Promise<string> {
    const found = join(this.directory, path);
    if (!`${realpathSync(found)}/`.startsWith(`${this.directory}/`))
      throw new Error('Path escapes the alloc directory');
    if (/^[^/]+\/(secrets|private)\//.test(path)) throw new Error(`Reading secret file prohibited: ${path}`);
    return readFileSync(found, 'utf8');
  }

  /** Has the client's part of a restart done: see AllocationRunner. */
  restore(): Promise<void> {
    return this.#runner.restore();
  }

  /** Renders the templates of its running tasks again. */
  render(): Promise<void> {
    return this.#runner.render();
  }

  /** Stops the allocation as `nomad job stop` does, and waits until its tasks have ended. Its directory stays. */
  async stop(): Promise<void> {
    const known = this.#state.allocation(this.id);
    if (known && known.DesiredStatus === 'run') {
      this.#state.write({ ...known, DesiredStatus: 'stop' }, 'PlanResult');
    }
    await this.#runner.stop();
  }

  /** Garbage collection, as after `nomad system gc`: the servers forget the allocation, the client removes its directory. */
  async gc(): Promise<void> {
    await this.stop();
    this.#state.forget(this.id);
    await this.#runner.destroy();
  }
}
