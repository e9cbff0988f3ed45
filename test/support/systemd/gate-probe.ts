import { until } from '../until.ts';
import { IN_MACHINE, type Machine } from './machine.ts';

/** What came of asking the gates. */
export interface ProbeResult {
  answered: number;
  /** Connects that failed: the reason, and how many. */
  readonly refused: Record<string, number>;
  /** Connections that stood and brought no good answer: the reason, and how many. */
  readonly cut: Record<string, number>;
}

const PROGRAM = `${IN_MACHINE.project}/test/support/systemd/gate-prober.ts`;

/** gate-prober.ts as a unit of a machine, started with this. */
export class GateProbe implements AsyncDisposable {
  static #started = 0;
  readonly #machine: Machine;
  readonly #unit = `gate-prober-${GateProbe.#started++}.service`;
  #isRunning = true;

  private constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Asks the gates at these paths; returns when each has been asked once. */
  static async start(machine: Machine, sockets: readonly string[]): Promise<GateProbe> {
    const probe = new GateProbe(machine);
    const output = `StandardOutput=truncate:${probe.#output}`;
    const unit = ['systemd-run', '--quiet', '--collect', '--unit', probe.#unit, '--property', output];
    await machine.mustRun([...unit, '--', '/usr/bin/node', PROGRAM, ...sockets]);
    await until('the gates have been asked', async () => (await probe.#lines()).length > 0);
    return probe;
  }

  /** Stops asking. @returns what came of it since its start */
  async end(): Promise<ProbeResult> {
    await this[Symbol.asyncDispose]();
    const [, result = ''] = await this.#lines();
    return JSON.parse(result);
  }

  async #lines(): Promise<readonly string[]> {
    return (await this.#machine.mustRun(['cat', this.#output])).split('\n').filter((line) => line !== '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    await this.#machine.mustRun(['systemctl', 'stop', this.#unit]);
  }

  get #output(): string {
    return `/run/${this.#unit}.json`;
  }
}
