import type { JobSpec } from '../nomad/job.ts';
import type { TaskEvent } from '../nomad/recorded.ts';
import { until } from '../until.ts';
import { IN_MACHINE, type Machine } from './machine.ts';
import { DATA_DIR, type MachineAllocation, type MachineNomad, NOMAD_UNIT } from './machine-nomad.ts';
import type { AllocationAnswer, DriverAnswer } from './stand-in-answer.ts';

/** Where the agent looks for Nomad unless told. */
const API_PORT = 4646;
const CONTROL_PORT = 4647;
const CONTROL = `http://127.0.0.1:${CONTROL_PORT}`;
const PROGRAM = `${IN_MACHINE.project}/test/support/systemd/stand-in-program.ts`;
const TIMEOUT_MS = 45_000;

/** The stand-in as `nomad.service` of a machine. */
export class MachineStandIn implements MachineNomad {
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  async install(sockets: Readonly<Record<string, string>>): Promise<void> {
    const blocks = Object.entries(sockets).map(([name, path]) => `${name}=${path}`);
    const start = ['/usr/bin/node', PROGRAM, DATA_DIR, API_PORT, CONTROL_PORT, ...blocks].join(' ');
    const unit = `[Unit]
Description=Stands in for Nomad
After=network-online.target

[Service]
Type=exec
ExecStart=${start}
KillMode=process
TasksMax=infinity

[Install]
WantedBy=multi-user.target
`;
    await this.#machine.writeFile(`/etc/systemd/system/${NOMAD_UNIT}`, unit);
    await this.#machine.mustRun(['systemctl', 'daemon-reload']);
    await this.#machine.mustRun(['systemctl', 'enable', NOMAD_UNIT]);
  }

  async waitUntilUp(): Promise<void> {
    await until('the driver has looked at its sockets', async () => (await driver()).rounds.length > 0, TIMEOUT_MS);
  }

  async runJob(job: JobSpec): Promise<MachineAllocation> {
    return new Allocation(await call<string>('POST', '/jobs', job));
  }

  async problemsAtStart(): Promise<readonly string[]> {
    return (await driver()).rounds[0] ?? ['the driver has not looked yet'];
  }

  async watchDriver(rounds: number): Promise<readonly string[]> {
    const { length } = (await driver()).rounds;
    const looked = async () => {
      const seen = (await driver()).rounds;
      return seen.length >= length + rounds && seen;
    };
    const seen = await until(`the driver has looked ${rounds} times more`, looked, TIMEOUT_MS);
    return seen.slice(length).flat();
  }
}

class Allocation implements MachineAllocation {
  readonly id: string;

  constructor(id: string) {
    this.id = id;
  }

  async waitFor(status: 'running' | 'complete' | 'failed'): Promise<void> {
    const ended = await until(
      `allocation ${this.id} is ${status}`,
      async () => {
        const state = await this.#state();
        return [status, 'complete', 'failed'].includes(state.status) && state;
      },
      TIMEOUT_MS,
    );
    if (ended.status === status) return;
    const events = Object.values(ended.events).flat();
    const told = events.map(({ Type, DisplayMessage }) => `${Type}: ${DisplayMessage}`).join('; ');
    throw new Error(`allocation ${this.id}: expected ${status}, got ${ended.status} (${told})`);
  }

  async events(task: string): Promise<readonly TaskEvent[]> {
    return (await this.#state()).events[task] ?? [];
  }

  async gc(): Promise<void> {
    await call('DELETE', `/allocations/${this.id}`);
  }

  #state(): Promise<AllocationAnswer> {
    return call('GET', `/allocations/${this.id}`);
  }
}

function driver(): Promise<DriverAnswer> {
  return call('GET', '/driver');
}

/** The answer as the caller says it is shaped: stand-in-answer.ts. @throws Error with what it says otherwise */
async function call<T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<T> {
  const response = await fetch(`${CONTROL}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${text}`);
  return JSON.parse(text);
}
