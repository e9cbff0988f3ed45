import type { ChildProcess } from 'node:child_process';
import { messageOf } from '../../../src/errors.ts';
import { until } from '../until.ts';
import type { TaskDir } from './alloc-dir.ts';
import type { TaskConfig } from './container-create.ts';
import { newTaskEvent } from './job.ts';
import type { LogFifo } from './log-fifo.ts';
import type { ExecResult } from './podman-api.ts';
import type { Container, PodmanDriver } from './podman-driver.ts';
import { killRawExec, startRawExec, waitForExit } from './raw-exec.ts';
import type { TaskEvent, TaskState } from './recorded.ts';
import { TaskFiles } from './task-files.ts';

const KILL_TIMEOUT_SECONDS = 1;
const KILL_ATTEMPTS = 5;
const KILL_BACKOFF_MS = 250;

/** One task's life as Nomad's client leads it: set-up, driver, waiting, restarts, stop. Tells each change of its state. */
export class TaskRunner {
  readonly state: TaskState = {
    State: 'pending',
    Failed: false,
    StartedAt: null,
    FinishedAt: null,
    Restarts: 0,
    LastRestart: null,
    Paused: '',
    Events: [newTaskEvent('Received', 'Task received by client')],
  };
  readonly #driver: PodmanDriver;
  readonly #config: TaskConfig;
  readonly #changed: () => void;
  #container: Container | undefined;
  #process: ChildProcess | undefined;
  #files: TaskFiles | undefined;
  #stopping = false;
  #restarting = false;

  constructor(driver: PodmanDriver, config: TaskConfig, changed: () => void) {
    this.#driver = driver;
    this.#config = config;
    this.#changed = changed;
  }

  get name(): string {
    return this.#config.task.name;
  }

  /** What the task has written to standard output and standard error, one line an entry, in that order. */
  get logs(): readonly string[] {
    return this.#fifos.flatMap((fifo) => fifo.lines);
  }

  /** Runs the task to its end, restarts included. Never throws: what goes wrong is in the state. */
  async run(): Promise<void> {
    this.#tell('Task Setup', 'Building Task Directory', { Message: 'Building Task Directory' });
    // Not before the task's turn: a later task's tmpfs has to reach a user who already sees the allocation.
    const taskDir = await this.#config.allocDir.buildTask(this.name, this.#config.task.secrets);
    for (const fifo of this.#fifos) await fifo.open();
    this.#files = new TaskFiles(taskDir.directory, this.#config.task, this.#config.variables);
    try {
      await this.#files.prestart();
      await this.#runWithRestarts(taskDir);
    } catch (error) {
      this.#driverFailure(messageOf(error));
    }
    this.#files.stop();
    this.state.State = 'dead';
    this.state.FinishedAt = new Date().toISOString();
    for (const fifo of this.#fifos) fifo.close();
    this.#changed();
  }

  /** Ends it before it has begun, as when the group's network cannot be made. */
  failSetup(reason: string): void {
    this.state.Failed = true;
    this.state.State = 'dead';
    this.state.FinishedAt = new Date().toISOString();
    this.#tell('Setup Failure', reason, { FailsTask: true });
  }

  /** Stops the task if it runs, and keeps it from starting if it does not yet. */
  async stop(event?: TaskEvent): Promise<void> {
    if (this.state.State === 'dead' || this.#stopping) return;
    this.#stopping = true;
    if (event) this.state.Events.push(event);
    if (this.#process) killRawExec(this.#process);
    if (!this.#container) return;
    this.#tell('Killing', 'Sent interrupt. Waiting 1s before force killing');
    try {
      await this.#kill(this.#container);
    } catch (error) {
      // To be asked for again.
      this.#stopping = false;
      throw error;
    }
  }

  /** A driver that cannot is asked again (killTask, task_runner.go: five times, with a back-off that is longer there). */
  async #kill(container: Container): Promise<void> {
    for (let failed = 1; ; failed++) {
      try {
        return await this.#driver.stop(container, KILL_TIMEOUT_SECONDS);
      } catch (error) {
        if (failed === KILL_ATTEMPTS) throw error;
        await new Promise((resolve) => setTimeout(resolve, KILL_BACKOFF_MS * 2 ** failed));
      }
    }
  }

  /** `nomad alloc restart`: stops what runs, and starts it again without a look at the restart policy. */
  async restart(): Promise<void> {
    await until(`task ${this.name} runs`, () => (this.#container ?? this.#process) !== undefined);
    const { Restarts } = this.state;
    this.#restarting = true;
    if (this.#process) killRawExec(this.#process);
    if (this.#container) await this.#kill(this.#container);
    const started = () => this.state.State === 'dead' || (this.state.Restarts > Restarts && !this.#restarting);
    await until(`task ${this.name} has been started again`, started);
  }

  /** What a client that starts again does for a task that still runs: its hooks go over everything anew. */
  async restore(): Promise<void> {
    if (!this.#hasBegun) return;
    await this.#config.allocDir.buildTask(this.name);
    await this.#files?.prestart();
  }

  /** Renders its templates again, where it runs. */
  async render(): Promise<void> {
    if (this.#hasBegun) await this.#files?.render();
  }

  /** Not by its state, which comes to be running only some time after its container writes its first line. */
  get #hasBegun(): boolean {
    return this.#files !== undefined && this.state.State !== 'dead';
  }

  /** @throws Error when the task does not run */
  exec(command: readonly string[], stdin: string): Promise<ExecResult> {
    if (!this.#container) throw new Error(`task ${this.name} is not running`);
    return this.#driver.exec(this.#container, command, stdin);
  }

  get #fifos(): readonly LogFifo[] {
    return [this.#config.stdout, this.#config.stderr];
  }

  async #runWithRestarts(taskDir: TaskDir): Promise<void> {
    const { job, task } = this.#config;
    const attempts = job.restartAttempts ?? 0;
    while (!this.#stopping) {
      const exitCode =
        (task.driver ?? 'podman') === 'podman' ? await this.#runContainer(taskDir) : await this.#runProcess(taskDir);
      if (this.#stopping || (exitCode === 0 && !this.#restarting)) return;
      if (this.state.Restarts >= attempts && !this.#restarting) {
        this.#notRestarting('Policy allows no restarts');
        return;
      }
      this.state.Restarts += 1;
      this.state.LastRestart = new Date().toISOString();
      this.#tell('Restarting', 'Task restarting in 0s');
      await this.#config.allocDir.buildTask(this.name);
      await this.#files?.prestart();
    }
  }

  async #runContainer(taskDir: TaskDir): Promise<number> {
    const container = await this.#driver.start(this.#config, taskDir, (message) => this.#tell('Driver', message));
    this.#container = container;
    this.#started();
    // A stop that came while the container was being created found nothing to stop.
    if (this.#stopping) await this.#kill(container);
    const exitCode = await this.#driver.wait(container);
    this.#container = undefined;
    this.#terminated(exitCode);
    await this.#driver.remove(container);
    return exitCode;
  }

  async #runProcess(taskDir: TaskDir): Promise<number> {
    const child = startRawExec(this.#config, taskDir);
    this.#process = child;
    const exit = waitForExit(child);
    this.#started();
    const exitCode = await exit;
    this.#process = undefined;
    this.#terminated(exitCode);
    return exitCode;
  }

  #started(): void {
    this.#restarting = false;
    this.state.State = 'running';
    this.state.StartedAt = new Date().toISOString();
    this.#tell('Started', 'Task started by client');
  }

  #terminated(exitCode: number): void {
    const details = { exit_code: String(exitCode), signal: '0', oom_killed: 'false' };
    this.#tell('Terminated', `Exit Code: ${exitCode}`, { Details: details });
  }

  #driverFailure(reason: string): void {
    const message = `rpc error: code = Unknown desc = ${reason}`;
    this.#tell('Driver Failure', message, { DriverError: message, Details: { driver_error: message } });
    // What the driver cannot start is not tried again, unless no restarts are allowed anyway.
    const attempts = this.#config.job.restartAttempts ?? 0;
    this.#notRestarting(attempts > 0 ? 'Error was unrecoverable' : 'Policy allows no restarts');
  }

  #notRestarting(reason: string): void {
    this.state.Failed = true;
    this.#tell('Not Restarting', reason, {
      FailsTask: true,
      RestartReason: reason,
      Details: { restart_reason: reason, fails_task: 'true' },
    });
  }

  #tell(type: string, message: string, fields: Partial<TaskEvent> = {}): void {
    this.state.Events.push(newTaskEvent(type, message, fields));
    this.#changed();
  }
}
