import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { fetchStatus } from '../../src/cli/admin-client.ts';
import type { AgentStatus } from '../../src/model/status.ts';
import { type CommandResult, runCommand } from './command.ts';
import type { Sandbox } from './sandbox.ts';
import type { PlayedServiceManager } from './service-manager.ts';
import { until } from './until.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
/** The built program, in a run of all tests: it starts with less than half of the CPU time that the sources take. */
const PROGRAM = process.env['AGENT_PROGRAM'] ?? MAIN;
/** Where its metrics server listens. */
export const METRICS_ADDRESS = '127.0.0.1:4656';
/** How old an answer may be that was rendered for who asked before. */
const METRICS_AGE_MS = 1000;
const HEALTH_AGE_MS = 100;

/** The agent's configuration as its YAML file has it; what is left out is the default, sockets and state in the sandbox. */
export type AgentConfig = Readonly<Record<string, unknown>>;

/** What runs the agent's program. */
export interface AgentProgram {
  /** What comes before the command. */
  readonly launcher?: readonly string[];
  /** Node's own options. */
  readonly nodeOptions?: readonly string[];
}

/** The agent as a process of its own, with its sockets and state in a sandbox's directory. */
export class AgentProcess {
  /** The lines of its log so far, of all its lives. */
  readonly log: string[] = [];
  readonly configFile: string;
  readonly gateDir: string;
  readonly adminSocket: string;
  /** Starts it as systemd does where it is set. */
  manager: PlayedServiceManager | undefined;
  readonly #directory: string;
  readonly #program: AgentProgram;
  #metricsAskedAt = 0;
  #child: ChildProcess | undefined;

  constructor(sandbox: Sandbox, program: AgentProgram = {}) {
    this.#program = program;
    this.#directory = join(sandbox.directory, 'agent');
    this.configFile = join(this.#directory, 'config.yaml');
    this.gateDir = join(this.#directory, 'gate');
    this.adminSocket = join(this.#directory, 'admin.sock');
    mkdirSync(this.#directory, { recursive: true });
  }

  /** Where a user's gate will be, for the driver's socket block. */
  gateSocket(user: string): string {
    return join(this.gateDir, `${user}.sock`);
  }

  /** @throws Error when it does not run */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('the agent does not run');
    return pid;
  }

  /** Writes the configuration; keys given here are added to the ones that put it into the sandbox, or replace them. */
  configure(config: AgentConfig): void {
    const placed: Record<string, object | string> = {
      gate: { dir: this.gateDir },
      admin: { socket: this.adminSocket },
      state_dir: join(this.#directory, 'state'),
      metrics: { address: METRICS_ADDRESS },
      log: { level: 'debug' },
    };
    const merged = Object.entries(config).map(([key, value]) => {
      const own = placed[key];
      const isSection = typeof value === 'object' && typeof own === 'object';
      return [key, isSection ? { ...own, ...value } : value];
    });
    writeFileSync(this.configFile, stringify({ ...placed, ...Object.fromEntries(merged) }));
  }

  /** Starts the configured agent and waits until /readyz says yes. @throws Error with its log when it ends before */
  async start(): Promise<void> {
    await this.startUnready();
    await this.waitUntilReady();
  }

  /** Waits until /readyz says yes. @throws Error with its log when it ends before */
  async waitUntilReady(): Promise<void> {
    await until('the agent is ready', async () => {
      this.#mustRun();
      return (await fetch(`http://${METRICS_ADDRESS}/readyz`)).ok;
    });
  }

  /** Resolves once /livez has answered: its event loop has come round. */
  async livez(): Promise<void> {
    await (await fetch(`http://${METRICS_ADDRESS}/livez`)).text();
  }

  /** What /readyz says now. */
  async readyz(): Promise<{ readonly status: number; readonly text: string }> {
    await pause(HEALTH_AGE_MS);
    const response = await fetch(`http://${METRICS_ADDRESS}/readyz`);
    return { status: response.status, text: await response.text() };
  }

  /** Starts the configured agent and waits only until its admin socket is there. */
  async startUnready(): Promise<void> {
    if (this.#child) throw new Error('the agent runs already');
    const { launcher = [], nodeOptions = [] } = this.#program;
    // What is loaded before it changes modules of the sources.
    const main = nodeOptions.length > 0 ? MAIN : PROGRAM;
    const command = [...launcher, process.execPath, ...nodeOptions, main, 'agent', '--config', this.configFile];
    const [program = '', ...args] = command;
    const child = this.manager?.start(command) ?? spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    for (const input of [child.stdout, child.stderr]) {
      if (input) createInterface({ input }).on('line', (line) => this.log.push(line));
    }
    await until('the admin socket is there', () => {
      this.#mustRun();
      return existsSync(this.adminSocket);
    });
  }

  /** Has it read its configuration again. */
  reload(): void {
    process.kill(this.pid, 'SIGHUP');
  }

  /** Stops the agent by SIGTERM as systemd does, or at once by SIGKILL. @returns its exit code, undefined after a signal */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | undefined> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? undefined;
    child.kill(signal);
    await once(child, 'exit');
    return child.exitCode ?? undefined;
  }

  /** Runs another of its commands with the same configuration: `status`, `cleanup`, `check-config`. */
  command(args: readonly string[]): Promise<CommandResult> {
    return runCommand([process.execPath, PROGRAM, ...args, '--config', this.configFile]);
  }

  /** What its command `status --json` prints, without a process of its own. */
  status(): Promise<AgentStatus> {
    return fetchStatus(this.adminSocket);
  }

  /** What /metrics says now, not what it said when it was last asked. */
  async metrics(): Promise<string> {
    await pause(Math.max(0, this.#metricsAskedAt + METRICS_AGE_MS - performance.now()));
    this.#metricsAskedAt = performance.now();
    return (await fetch(`http://${METRICS_ADDRESS}/metrics`)).text();
  }

  /** One sample's value; undefined where there is none. @param sample name and labels as in the exposition format */
  async metric(sample: string): Promise<number | undefined> {
    const line = (await this.metrics()).split('\n').find((text) => text.startsWith(`${sample} `));
    return line === undefined ? undefined : Number(line.slice(sample.length + 1));
  }

  /** Waits for a line of its log. @returns that line */
  waitForLog(pattern: RegExp): Promise<string> {
    return until(`the agent logs ${pattern}`, () => this.log.find((line) => pattern.test(line)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
  }

  #mustRun(): void {
    const { exitCode, signalCode } = this.#child ?? {};
    if (exitCode === null && signalCode === null) return;
    throw new Error(`the agent ended (${exitCode ?? signalCode}):\n${this.log.join('\n')}`);
  }
}

/** Makes an agent in the sandbox, configures it and waits until it is ready. */
export async function startAgent(sandbox: Sandbox, config: AgentConfig): Promise<AgentProcess> {
  const agent = new AgentProcess(sandbox);
  agent.configure(config);
  await agent.start();
  return agent;
}
