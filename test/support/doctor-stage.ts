import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { runDoctor } from '../../src/cli/run-doctor.ts';
import { type AgentConfig, type AgentProcess, startAgent } from './agent.ts';
import { mustRun } from './command.ts';
import { createSandbox, type Sandbox } from './sandbox.ts';
import { StandInNomad } from './stand-in-nomad.ts';

/** What `doctor --json` promises. */
export const DoctorReport = z.strictObject({
  verdict: z.enum(['ok', 'warning', 'failed']),
  checks: z.array(
    z.strictObject({
      id: z.string().regex(/^[a-z_]+$/),
      title: z.string(),
      user: z.string().optional(),
      verdict: z.enum(['ok', 'warning', 'failed']),
      found: z.string(),
      remedy: z.string().optional(),
    }),
  ),
});
export type DoctorCheck = z.infer<typeof DoctorReport>['checks'][number];

/** Programs of a host that a sandbox is not: they write down how they were called, and do what has to be done before the next command. */
const PROGRAMS = {
  nomad: '',
  systemctl: `
case "$1 $2" in "stop user-"*.slice)
  uid=\${2#user-}
  uid=\${uid%.slice}
  pkill -KILL -U "$uid"
  while pgrep -U "$uid" >/dev/null; do sleep 0.1; done
esac
`,
};

/** A host on which doctor finds nothing but what no sandbox has: alice and bob with their Podmans, a Nomad and an agent. */
export class DoctorStage {
  readonly sandbox: Sandbox;
  readonly nomad: StandInNomad;
  readonly agent: AgentProcess;
  /** The agent's, and doctor's unless told. */
  readonly config: AgentConfig;
  /** Where remedies find PROGRAMS. */
  readonly #programs: string;

  private constructor(sandbox: Sandbox, nomad: StandInNomad, agent: AgentProcess, config: AgentConfig) {
    [this.sandbox, this.nomad, this.agent, this.config] = [sandbox, nomad, agent, config];
    this.#programs = join(sandbox.directory, 'programs');
  }

  static async create(): Promise<DoctorStage> {
    const sandbox = await createSandbox({ users: ['alice', 'bob'] });
    const gates = join(sandbox.directory, 'agent/gate');
    const sockets = { alice: `${gates}/alice.sock`, bob: `${gates}/bob.sock` };
    const tokens = { strong: 'all', weak: 'without-read-job' } as const;
    const nomad = new StandInNomad({ dataDir: join(sandbox.directory, 'nomad'), sockets, tokens });
    await nomad.start();
    const config = { nomad: { address: nomad.address, token: 'strong' }, users: { alice: {}, bob: {} } };
    const agent = await startAgent(sandbox, config);
    await mustRun(['sysctl', '-w', 'net.ipv4.ip_forward=1']);
    const stage = new DoctorStage(sandbox, nomad, agent, config);
    await mustRun(['mkdir', '-p', stage.#programs]);
    for (const [name, does] of Object.entries(PROGRAMS)) {
      const program = join(stage.#programs, name);
      writeFileSync(program, `#!/bin/sh\necho "${name} $*" >>${stage.#calls}\n${does}`);
      chmodSync(program, 0o755);
    }
    stage.configure({});
    return stage;
  }

  /** Writes the configuration as doctor is to find it; the agent does not read it again. */
  configure(changed: AgentConfig): void {
    this.agent.configure({ ...this.config, ...changed });
    chmodSync(this.agent.configFile, 0o600);
  }

  /** What doctor prints as JSON. In this process: one of its own takes ten times as long, and what it prints is tested elsewhere. */
  async checks(): Promise<DoctorCheck[]> {
    let printed = '';
    const write = (text: string) => {
      printed += text;
    };
    const terminal = { write, rows: undefined, paint: (_: string, text: string) => text };
    await runDoctor({ json: true, config: this.agent.configFile }, terminal);
    return DoctorReport.parse(JSON.parse(printed)).checks;
  }

  /**
   * Runs a remedy as an operator would who pastes it; without a shell where it has none of a shell's signs.
   * @returns how it called programs that this host has not
   */
  async run(remedy: string): Promise<string[]> {
    writeFileSync(this.#calls, '');
    const argv = /[|&;'"$]/.test(remedy) ? ['sh', '-c', remedy] : remedy.split(' ');
    const path = `${this.#programs}:${process.env['PATH']}`;
    await mustRun(['env', `PATH=${path}`, ...argv]);
    return readFileSync(this.#calls, 'utf8').split('\n').filter(Boolean);
  }

  get #calls(): string {
    return join(this.#programs, 'calls');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent.stop();
    await this.nomad.api.stop();
    await this.sandbox.dispose();
  }
}
