import { IN_MACHINE, type Machine } from './machine.ts';

/** What came of asking the gates. */
export interface ProbeResult {
  answered: number;
  /** Connects that failed: the reason, and how many. */
  readonly refused: Record<string, number>;
  /** Connections that stood and brought no good answer: the reason, and how many. */
  readonly cut: Record<string, number>;
  /** From a connect to the end of its answer, in milliseconds. */
  longestMs: number;
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

  /** Begins to ask the gates at these paths. */
  static async start(machine: Machine, sockets: readonly string[]): Promise<GateProbe> {
    const probe = new GateProbe(machine);
    const output = `StandardOutput=truncate:${probe.#output}`;
    const unit = ['systemd-run', '--quiet', '--collect', '--unit', probe.#unit, '--property', output];
    await machine.mustRun([...unit, '--', '/usr/bin/node', PROGRAM, ...sockets]);
    return probe;
  }

  /** Stops asking. @returns what came of it since its start */
  async end(): Promise<ProbeResult> {
    await this[Symbol.asyncDispose]();
    return JSON.parse(await this.#machine.mustRun(['cat', this.#output]));
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
