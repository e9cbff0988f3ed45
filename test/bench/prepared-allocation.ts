import { randomUUID } from 'node:crypto';
import { AllocDir, type TaskDir } from '../support/nomad/alloc-dir.ts';
import { createBody } from '../support/nomad/container-create.ts';
import { type JobSpec, newAllocation } from '../support/nomad/job.ts';
import { LogFifo } from '../support/nomad/log-fifo.ts';
import type { TaskState } from '../support/nomad/recorded.ts';
import { IMAGE } from '../support/sandbox.ts';
import type { StandInNomad } from '../support/stand-in-nomad.ts';

/** The name of the only task. */
export const BENCH_TASK = 'main';

function taskOf(user: string) {
  return { name: BENCH_TASK, socket: user, image: IMAGE, command: 'sleep', args: ['1000'] };
}

function jobOf(user: string): JobSpec {
  return { id: 'bench', meta: { podman_user: user }, tasks: [taskOf(user)] };
}

/** The job of all alice's allocations. */
export const BENCH_JOB: JobSpec = jobOf('alice');

const PODMAN_API_VERSION = '4.3.1';

/** An allocation with everything that Nomad makes on the host before the driver is called, and no container. */
export class PreparedAllocation {
  readonly id = randomUUID();
  readonly #nomad: StandInNomad;
  readonly #allocDir: AllocDir;
  readonly #user: string;
  #taskDir: TaskDir | undefined;

  /** @param user whose it is */
  constructor(nomad: StandInNomad, user = 'alice') {
    this.#nomad = nomad;
    this.#user = user;
    this.#allocDir = new AllocDir(nomad.allocDir, this.id);
  }

  /** The name that the driver gives the container. */
  get container(): string {
    return `${BENCH_TASK}-${this.id}`;
  }

  /** Makes the directories, secrets/ and private/ mounted. Nomad's API does not know the allocation yet. */
  async build(): Promise<void> {
    this.#allocDir.build();
    this.#taskDir = await this.#allocDir.buildTask(BENCH_TASK, {});
  }

  /** Lets Nomad's API know it, the event stream too. */
  announce(): void {
    this.#nomad.announce(this.#record());
  }

  /** Lets Nomad's API say that its task runs. */
  run(): void {
    const state: TaskState = {
      ...{ State: 'running', Failed: false, StartedAt: null, FinishedAt: null, Restarts: 0, LastRestart: null },
      ...{ Paused: '', Events: [] },
    };
    const TaskStates = { [BENCH_TASK]: state };
    this.#nomad.announce({ ...this.#record(), ClientStatus: 'running', TaskStates }, 'AllocationUpdated');
  }

  /** Lets Nomad's API say that it has ended. */
  end(): void {
    const ended = { DesiredStatus: 'stop', ClientStatus: 'complete' };
    this.#nomad.announce({ ...this.#record(), ...ended }, 'AllocationUpdated');
  }

  /** The driver's body of containers/create. */
  createBody(): object {
    if (!this.#taskDir) throw new Error('the allocation is not built yet');
    const { logs } = this.#allocDir;
    const stdout = new LogFifo(logs, BENCH_TASK, 'stdout');
    const stderr = new LogFifo(logs, BENCH_TASK, 'stderr');
    const allocDir = this.#allocDir;
    const inHostNetwork = { network: undefined, ports: [], sourceOf: String };
    const job = jobOf(this.#user);
    const task = taskOf(this.#user);
    const config = { allocationId: this.id, job, task, allocDir, stdout, stderr, ...inHostNetwork };
    return createBody(config, this.#taskDir, IMAGE, PODMAN_API_VERSION);
  }

  /** The same with a field of a wrong type: the gate treats it alike, Podman reads it to the end and creates nothing. */
  unacceptableBody(): object {
    return { ...this.createBody(), terminal: 'neither true nor false' };
  }

  /** Takes the directories away. */
  destroy(): Promise<void> {
    return this.#allocDir.destroy();
  }

  #record() {
    return newAllocation(this.id, jobOf(this.#user), { nodeId: this.#nomad.nodeId, ports: [], now: Date.now() * 1e6 });
  }
}
