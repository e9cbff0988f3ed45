import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { PoolOptions, PoolRunnerInitializer, PoolWorker, WorkerRequest } from 'vitest/node';
import { inNamespaces } from './namespaces.ts';

/** Vitest's pool of processes, each in namespaces of its own: files that mount, add users and kill run beside each other. */
export const SANDBOX_POOL: PoolRunnerInitializer = {
  name: 'sandbox',
  createPoolWorker: (options) => new SandboxWorker(options),
};

/** Vitest's worker of the pool `forks` (ForksPoolWorker), but for where its process runs. */
class SandboxWorker implements PoolWorker {
  readonly name = SANDBOX_POOL.name;
  readonly #options: PoolOptions;
  #process: ChildProcess | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { distPath, env, execArgv, project } = this.#options;
    const [execPath, ...args] = inNamespaces([process.execPath, ...execArgv]);
    const child = fork(join(distPath, 'workers/forks.js'), [], {
      execPath,
      execArgv: args,
      env: { ...process.env, ...env },
      stdio: 'pipe',
      serialization: 'advanced',
    });
    child.stdout?.on('data', (chunk) => project.vitest.logger.outputStream.write(chunk));
    child.stderr?.on('data', (chunk) => project.vitest.logger.errorStream.write(chunk));
    this.#process = child;
  }

  /** Ends the namespaces and all that runs there. */
  async stop(): Promise<void> {
    const child = this.#running;
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  on(event: string, callback: (argument: unknown) => void): void {
    this.#running.on(event, callback);
  }

  off(event: string, callback: (argument: unknown) => void): void {
    this.#running.off(event, callback);
  }

  send(message: WorkerRequest): void {
    this.#running.send(message);
  }

  deserialize(data: unknown): unknown {
    return data;
  }

  get #running(): ChildProcess {
    if (!this.#process) throw new Error('the worker was not started');
    return this.#process;
  }
}
