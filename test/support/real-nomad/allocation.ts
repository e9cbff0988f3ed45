import { existsSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { runCommand } from '../command.ts';
import { addressOf, hostPortOf } from '../nomad/allocation-network.ts';
import { netnsPath } from '../nomad/netns.ts';
import type { ExecResult } from '../nomad/podman-api.ts';
import type { RecordedAllocation, TaskEvent } from '../nomad/recorded.ts';
import type { AllocationUnderTest } from '../nomad-under-test.ts';
import { until } from '../until.ts';
import type { Api } from './api.ts';

const ENDED = ['complete', 'failed', 'lost'];
const TIMEOUT_MS = 45_000;
/** Between two requests to collect, since each of them makes the servers look at everything. */
const COLLECTION_MS = 100;
/** The k8s-file form in which conmon writes a line, which the driver passes on as it is. */
const LINE = /^\S+ (?:stdout|stderr) [FP] (.*)$/;

/** One allocation of a job that a real Nomad runs. */
export class RealAllocation implements AllocationUnderTest {
  readonly id: string;
  readonly directory: string;
  readonly #api: Api;
  readonly #jobPath: string;

  constructor(api: Api, placed: Pick<RecordedAllocation, 'ID' | 'JobID' | 'Namespace'>, allocDir: string) {
    this.id = placed.ID;
    this.directory = `${allocDir}/${placed.ID}`;
    this.#api = api;
    this.#jobPath = `/v1/job/${placed.JobID}?namespace=${placed.Namespace}`;
  }

  get netns(): string {
    return netnsPath(this.id);
  }

  address(): Promise<string> {
    return addressOf('Address', () => this.read());
  }

  addressIpv6(): Promise<string> {
    return addressOf('AddressIPv6', () => this.read());
  }

  async hostPort(label: string): Promise<number> {
    return hostPortOf(label, await this.read());
  }

  /** As the API gives it. */
  read(): Promise<RecordedAllocation> {
    return this.#api.json('GET', `/v1/allocation/${this.id}`);
  }

  async waitFor(status: 'running' | 'complete' | 'failed'): Promise<void> {
    const ended = await until(
      `allocation ${this.id} is ${status}`,
      async () => {
        const { ClientStatus } = await this.read();
        return [status, ...ENDED].includes(ClientStatus) && ClientStatus;
      },
      TIMEOUT_MS,
    );
    if (ended === status) return;
    const { TaskStates } = await this.read();
    const events = Object.entries(TaskStates ?? {}).map(
      ([task, { Events }]) =>
        `${task}: ${Events.map(({ Type, DisplayMessage }) => `${Type}: ${DisplayMessage}`).join('; ')}`,
    );
    throw new Error(`allocation ${this.id}: expected ${status}, got ${ended} (${events.join(' | ')})`);
  }

  async logs(task: string): Promise<readonly string[]> {
    const texts = await Promise.all(
      ['stdout', 'stderr'].map((type) =>
        this.#api.text('GET', `/v1/client/fs/logs/${this.id}?task=${task}&type=${type}&plain=true&origin=start`),
      ),
    );
    return texts.flatMap((text) => text.split('\n').slice(0, -1)).map((line) => LINE.exec(line)?.[1] ?? line);
  }

  waitForLog(task: string, wanted: string | RegExp): Promise<string> {
    return until(
      `task ${task} writes ${wanted}`,
      async () =>
        (await this.logs(task)).find((line) => (typeof wanted === 'string' ? line === wanted : wanted.test(line))),
      TIMEOUT_MS,
    );
  }

  async events(task: string): Promise<readonly TaskEvent[]> {
    return (await this.read()).TaskStates?.[task]?.Events ?? [];
  }

  async exec(task: string, argv: readonly string[], stdin = ''): Promise<ExecResult> {
    const { stdout, stderr, code } = await runCommand(
      ['nomad', 'alloc', 'exec', '-i=true', '-t=false', '-task', task, this.id, ...argv],
      { env: this.#api.environment, input: stdin },
    );
    return { stdout, stderr, exitCode: code };
  }

  async restart(task: string): Promise<void> {
    const restarts = async () => (await this.read()).TaskStates?.[task]?.Restarts ?? 0;
    const before = await restarts();
    await this.#api.json('PUT', `/v1/client/allocation/${this.id}/restart`, { TaskName: task });
    await until(
      `task ${task} has been started again`,
      async () => {
        const state = (await this.read()).TaskStates?.[task];
        return state?.State === 'running' && state.Restarts > before && state.Events.at(-1)?.Type === 'Started';
      },
      TIMEOUT_MS,
    );
  }

  readFile(path: string): Promise<string> {
    return this.#api.text('GET', `/v1/client/fs/cat/${this.id}?path=${encodeURIComponent(path)}`);
  }

  async stop(): Promise<void> {
    if (await this.#hasEnded()) return;
    await this.#api.json('DELETE', this.#jobPath);
    await until(`allocation ${this.id} has ended`, () => this.#hasEnded(), TIMEOUT_MS);
  }

  async gc(): Promise<void> {
    await this.stop();
    await until(
      `the directory of allocation ${this.id} is gone`,
      async () => {
        if (!existsSync(this.directory)) return true;
        // Each time anew: Nomad collects a job only once its evaluations are through.
        await this.#api.text('PUT', '/v1/system/gc');
        await setTimeout(COLLECTION_MS);
        return false;
      },
      TIMEOUT_MS,
    );
  }

  /** Collected counts: what one allocation asks to be collected is all that has ended. */
  async #hasEnded(): Promise<boolean> {
    const known = await this.#api.json<{ ID: string; ClientStatus: string }[]>('GET', '/v1/allocations?namespace=*');
    const status = known.find(({ ID }) => ID === this.id)?.ClientStatus;
    return status === undefined || ENDED.includes(status);
  }
}
