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

const TASK = { name: BENCH_TASK, socket: 'alice', image: IMAGE, command: 'sleep', args: ['1000'] };

/** The job of all allocations. */
export const BENCH_JOB: JobSpec = { id: 'bench', meta: { podman_user: 'alice' }, tasks: [TASK] };

const PODMAN_API_VERSION = '4.3.1';

/** An allocation of alice's with everything that Nomad makes on the host before the driver is called, and no container. */
export class PreparedAllocation {
  readonly id = randomUUID();
  readonly #nomad: StandInNomad;
  readonly #allocDir: AllocDir;
  #taskDir: TaskDir | undefined;

  constructor(nomad: StandInNomad) {
    this.#nomad = nomad;
    this.#allocDir = new AllocDir(nomad.allocDir, this.id);
  }

  /** The name that the driver gives the container. */
  get container(): string {
    return `${BENCH_TASK}-${this.id}`;
  }

  /** Makes the directories, secrets/ and private/ mounted. Nomad's API does not know the allocation yet. */
  async build(): Promise<void> {
    this.#allocDir.build();
    this.#taskDir = await this.#allocDir.buildTask(TASK.name, {});
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
    const TaskStates = { [TASK.name]: state };
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
    const stdout = new LogFifo(logs, TASK.name, 'stdout');
    const stderr = new LogFifo(logs, TASK.name, 'stderr');
    const allocDir = this.#allocDir;
    const inHostNetwork = { network: undefined, ports: [], sourceOf: String };
    const config = { allocationId: this.id, job: BENCH_JOB, task: TASK, allocDir, stdout, stderr, ...inHostNetwork };
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
    return newAllocation(this.id, BENCH_JOB, { nodeId: this.#nomad.nodeId, ports: [], now: Date.now() * 1e6 });
  }
}
