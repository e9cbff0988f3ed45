import { EventEmitter } from 'node:events';
import { messageOf } from '../../../src/errors.ts';
import { AllocDir } from './alloc-dir.ts';
import { ClaimedVolumes, type NodeVolumes } from './claimed-volumes.ts';
import type { GroupNetwork, GroupNetworks } from './group-network.ts';
import { type JobSpec, newTaskEvent, type TaskSpec } from './job.ts';
import { LogFifo } from './log-fifo.ts';
import type { PodmanDriver } from './podman-driver.ts';
import type { AllocatedPort } from './ports.ts';
import type { NetworkStatus, RecordedAllocation, TaskState } from './recorded.ts';
import { TaskRunner } from './task-runner.ts';
import type { Variables } from './template.ts';

/** An allocation's status as its client reports it. */
export type ClientStatus = 'pending' | 'running' | 'complete' | 'failed';

/** What the client tells of an allocation. */
type ClientUpdate = Pick<RecordedAllocation, 'ClientStatus' | 'ClientDescription' | 'TaskStates' | 'NetworkStatus'>;

/** What an allocation's life needs of the client. */
export interface AllocationContext {
  readonly allocDir: string;
  readonly driver: PodmanDriver;
  readonly networks: GroupNetworks;
  /** The ports that the servers have given the group. */
  readonly ports: readonly AllocatedPort[];
  readonly volumes: NodeVolumes;
  readonly variables: Variables;
  /** The earlier allocation whose disk this one takes over. */
  readonly earlier: AllocDir | undefined;
  /** Hands the client's part of the allocation to the servers. */
  readonly report: (update: ClientUpdate) => void;
}

/** The client sends what has changed this often. */
const REPORT_INTERVAL_MS = 200;

const DESCRIPTIONS: Record<ClientStatus, string> = {
  pending: 'No tasks have started',
  running: 'Tasks are running',
  complete: 'All tasks have completed',
  failed: 'Failed tasks',
};

const NO_STATUS: NetworkStatus = { InterfaceName: '', Address: '', AddressIPv6: '', DNS: null };

/** One allocation's life on the client, in Nomad's order: alloc dir, network, then prestart, main, poststart and poststop tasks. */
export class AllocationRunner extends EventEmitter<{ change: [] }> {
  readonly id: string;
  readonly allocDir: AllocDir;
  /** What broke the stand-in itself while it ran this allocation. */
  failure: unknown;
  readonly #job: JobSpec;
  readonly #context: AllocationContext;
  readonly #tasks = new Map<string, TaskRunner>();
  readonly #volumes: ClaimedVolumes;
  #network: GroupNetwork | undefined;
  #report: NodeJS.Timeout | undefined;
  #stopping = false;
  #done: Promise<void> = Promise.resolve();

  constructor(id: string, job: JobSpec, context: AllocationContext) {
    super();
    this.id = id;
    if (hasNetns(job) && !context.networks.has(job.networkMode)) {
      throw new Error(`the stand-in was given no chain for a network of mode ${job.networkMode}`);
    }
    this.#job = job;
    this.#context = context;
    this.allocDir = new AllocDir(context.allocDir, id);
    this.#volumes = new ClaimedVolumes(id, job.volumes ?? [], context.volumes);
  }

  /** Starts its life, and returns at once. */
  start(): void {
    this.#done = this.#live().catch((error: unknown) => {
      this.failure = error;
    });
  }

  get status(): ClientStatus {
    const states = [...this.#tasks.values()].map(({ state }) => state);
    if (states.some(({ Failed }) => Failed)) return 'failed';
    if (states.some(({ State }) => State === 'running')) return 'running';
    return states.length === 0 || states.some(({ State }) => State === 'pending') ? 'pending' : 'complete';
  }

  /** Names of the tasks whose life has begun. */
  get taskNames(): readonly string[] {
    return [...this.#tasks.keys()];
  }

  /** @throws Error where the group has no such task, or its directory is not made yet */
  task(name: string): TaskRunner {
    const task = this.#tasks.get(name);
    if (!task) throw new Error(`allocation ${this.id} has no task ${name}`);
    return task;
  }

  /** What a client that starts again does for an allocation that has not ended: all is built anew, by path, around what runs. */
  async restore(): Promise<void> {
    if (['complete', 'failed'].includes(this.status)) return;
    this.allocDir.build();
    for (const task of this.#tasks.values()) await task.restore();
  }

  /** Renders the templates of the tasks that run again. */
  async render(): Promise<void> {
    for (const task of this.#tasks.values()) await task.render();
  }

  /** Stops every task and waits until all have ended, poststop tasks included. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#stopTasks();
    await this.#done;
  }

  /**
   * The client's garbage collection: secrets/ and private/ are unmounted, the directory removed.
   * @throws Error when something that is the client's own to do has failed in its life
   */
  async destroy(): Promise<void> {
    await this.stop();
    await this.allocDir.destroy();
    if (this.failure !== undefined) throw this.failure;
  }

  async #live(): Promise<void> {
    this.allocDir.build();
    const { earlier } = this.#context;
    const names = this.#job.tasks.map(({ name }) => name);
    if (earlier) this.allocDir.move(earlier, names);
    const setupFailure = await this.#createNetwork();
    await this.#volumes.mount();
    for (const task of this.#job.tasks) this.#tasks.set(task.name, this.#newTask(task));
    try {
      if (setupFailure === undefined) await this.#runTasks();
      else for (const task of this.#tasks.values()) task.failSetup(setupFailure);
    } finally {
      await this.#volumes.unmount();
      await this.#context.networks.destroy(this.id);
      this.#changed();
    }
  }

  /** @returns what went wrong, in Nomad's words */
  async #createNetwork(): Promise<string | undefined> {
    const { networks, ports } = this.#context;
    if (!hasNetns(this.#job)) return undefined;
    try {
      this.#network = await networks.create(this.id, this.#job, ports);
      return undefined;
    } catch (error) {
      return `failed to setup alloc: pre-run hook "network" failed: ${messageOf(error)}`;
    }
  }

  /** In the order of their lifecycle, until the last has ended. */
  async #runTasks(): Promise<void> {
    const prestart = this.#tasksOf('prestart');
    const sidecars = prestart.filter(({ lifecycle }) => lifecycle?.sidecar).map((task) => this.#run(task));
    await Promise.all(prestart.filter(({ lifecycle }) => !lifecycle?.sidecar).map((task) => this.#run(task)));
    const main = this.#tasksOf(undefined).map((task) => this.#run(task));
    const poststart = this.#mainIsRunning().then((running) =>
      running ? Promise.all(this.#tasksOf('poststart').map((task) => this.#run(task))) : [],
    );
    await Promise.all(main);
    await this.#stopTasks();
    await Promise.all([...sidecars, poststart]);
    await Promise.all(this.#tasksOf('poststop').map((task) => this.#run(task)));
    // Tasks that never started are over too.
    for (const task of this.#tasks.values()) task.state.State = 'dead';
  }

  #newTask(task: TaskSpec): TaskRunner {
    const config = {
      allocationId: this.id,
      job: this.#job,
      task,
      allocDir: this.allocDir,
      stdout: new LogFifo(this.allocDir.logs, task.name, 'stdout', task.logs),
      stderr: new LogFifo(this.allocDir.logs, task.name, 'stderr', task.logs),
      network: this.#network,
      ports: this.#context.ports,
      sourceOf: (volume: string) => this.#volumes.sourceOf(volume),
      variables: this.#context.variables,
    };
    return new TaskRunner(this.#context.driver, config, () => this.#changed());
  }

  async #run(task: TaskSpec): Promise<void> {
    const runner = this.task(task.name);
    const mayStart = task.lifecycle?.hook === 'poststop' || (!this.#stopping && !this.#failed());
    if (!mayStart) return;
    await runner.run();
    if (!runner.state.Failed) return;
    const event = newTaskEvent('Sibling Task Failed', `Task's sibling "${task.name}" failed`);
    await this.#stopTasks(event);
  }

  async #stopTasks(event?: Parameters<TaskRunner['stop']>[0]): Promise<void> {
    const running = this.#job.tasks.filter(({ lifecycle }) => lifecycle?.hook !== 'poststop');
    await Promise.all(running.map((task) => this.#tasks.get(task.name)?.stop(event)));
  }

  #failed(): boolean {
    return [...this.#tasks.values()].some(({ state }) => state.Failed);
  }

  #tasksOf(hook: string | undefined): TaskSpec[] {
    return this.#job.tasks.filter(({ lifecycle }) => lifecycle?.hook === hook);
  }

  /** Whether all main tasks have come to run; false once one of them has ended before. */
  async #mainIsRunning(): Promise<boolean> {
    for (;;) {
      const states = this.#tasksOf(undefined).map(({ name }) => this.task(name).state.State);
      if (states.every((state) => state === 'running')) return true;
      if (states.some((state) => state === 'dead')) return false;
      await new Promise((resolve) => this.once('change', () => resolve(undefined)));
    }
  }

  #changed(): void {
    this.emit('change');
    this.#report ??= setTimeout(() => {
      this.#report = undefined;
      const states: [string, TaskState][] = [...this.#tasks].map(([name, { state }]) => [name, state]);
      this.#context.report({
        ClientStatus: this.status,
        ClientDescription: DESCRIPTIONS[this.status],
        TaskStates: Object.fromEntries(states),
        NetworkStatus: this.#network?.status ?? NO_STATUS,
      });
    }, REPORT_INTERVAL_MS);
  }
}

/** Whether the group gets a network namespace of its own. */
function hasNetns(job: JobSpec): job is JobSpec & { readonly networkMode: string } {
  return job.networkMode !== undefined && job.networkMode !== 'host';
}
