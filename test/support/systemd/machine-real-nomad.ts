import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { JobSpec } from '../nomad/job.ts';
import type { RecordedAllocation } from '../nomad/recorded.ts';
import { onPath } from '../on-path.ts';
import { CLIENT_ADDRESS, clientConfig, SERVER_ADDRESS, serverConfig } from '../real-nomad/agent-config.ts';
import { RealAllocation } from '../real-nomad/allocation.ts';
import { Api } from '../real-nomad/api.ts';
import { registration } from '../real-nomad/register-job.ts';
import { until } from '../until.ts';
import { IN_MACHINE, type Machine } from './machine.ts';
import { DATA_DIR, type MachineAllocation, type MachineNomad, NOMAD_UNIT } from './machine-nomad.ts';

const SERVER_UNIT = 'nomad-server.service';
const SERVER_DATA = '/opt/nomad/server';
/** What the driver logs where one of its sockets is dead. */
const PROBLEM = /Could not get podman|Cannot fingerprint|gate.*: connect: /;
const FINGERPRINT_INTERVAL_MS = 30_000;
const LOOK_INTERVAL_MS = 500;
const UP_TIMEOUT_MS = 60_000;

interface Node {
  readonly Status: string;
  readonly Drivers: Readonly<Record<string, { readonly Healthy: boolean; readonly HealthDescription: string }>>;
}

/** The `nomad` on PATH with the podman driver of NOMAD_PLUGIN_DIR, server and client as units of their own. */
export class MachineRealNomad implements MachineNomad {
  readonly #machine: Machine;
  readonly #api = new Api(CLIENT_ADDRESS);

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** What a machine needs to see of this one for it: path here to path there. Undefined where it is not all there. */
  static shown(): Readonly<Record<string, string>> | undefined {
    const program = onPath('nomad');
    const plugins = process.env.NOMAD_PLUGIN_DIR;
    if (program === undefined || plugins === undefined) return undefined;
    return { [program]: IN_MACHINE.nomad, [plugins]: IN_MACHINE.plugins };
  }

  async install(sockets: Readonly<Record<string, string>>): Promise<void> {
    const machine = this.#machine;
    const dataDir = DATA_DIR;
    const network = { pluginDir: '/usr/lib/cni', configDir: '/etc/cni' };
    const client = { dataDir, pluginDir: IN_MACHINE.plugins, sockets, acl: false, network, hostVolumes: {} };
    await machine.mustRun(['install', '-d', '-m', '0700', dataDir]);
    await machine.writeFile('/etc/nomad.d/server.hcl', serverConfig({ dataDir: SERVER_DATA, acl: false }));
    await machine.writeFile('/etc/nomad.d/client.hcl', clientConfig(client));
    await machine.writeFile(`/etc/systemd/system/${SERVER_UNIT}`, unit('/etc/nomad.d/server.hcl', ''));
    await machine.writeFile(
      `/etc/systemd/system/${NOMAD_UNIT}`,
      unit('/etc/nomad.d/client.hcl', `Wants=${SERVER_UNIT}\nAfter=${SERVER_UNIT}`),
    );
    await machine.mustRun(['systemctl', 'daemon-reload']);
    await machine.mustRun(['systemctl', 'enable', SERVER_UNIT, NOMAD_UNIT]);
  }

  async waitUntilUp(): Promise<void> {
    await until('the node is ready', async () => (await this.#node()).Status === 'ready', UP_TIMEOUT_MS);
    await until(
      'the driver has looked at its sockets',
      async () => this.#problem(await this.#node()) !== undefined,
      UP_TIMEOUT_MS,
    );
  }

  async runJob(job: JobSpec): Promise<MachineAllocation> {
    await this.#api.json('PUT', '/v1/jobs', registration(job));
    const placed = await until(
      `job ${job.id} is placed`,
      async () => {
        const [first] = await this.#api.json<RecordedAllocation[]>('GET', `/v1/job/${job.id}/allocations`);
        if (first) return first;
        throw new Error(await this.#api.text('GET', `/v1/job/${job.id}/evaluations`));
      },
      UP_TIMEOUT_MS,
    );
    return new RealAllocation(this.#api, placed, join(DATA_DIR, 'alloc'));
  }

  async problemsAtStart(): Promise<readonly string[]> {
    const lines = (await this.#machine.journal(NOMAD_UNIT)).split('\n');
    return lines.filter((line) => PROBLEM.test(line));
  }

  async watchDriver(rounds: number): Promise<readonly string[]> {
    const problems = new Set<string>();
    const end = performance.now() + (rounds + 1) * FINGERPRINT_INTERVAL_MS;
    while (performance.now() < end) {
      const problem = this.#problem(await this.#node());
      if (problem !== '') problems.add(problem ?? 'Nomad has no podman driver');
      await setTimeout(LOOK_INTERVAL_MS);
    }
    return [...problems];
  }

  /** What the driver has found wrong; undefined where there is no driver yet. */
  #problem({ Drivers }: Node): string | undefined {
    const driver = Drivers['podman'];
    return driver?.Healthy ? '' : driver?.HealthDescription;
  }

  async #node(): Promise<Node> {
    const [listed] = await new Api(SERVER_ADDRESS).json<{ ID: string }[]>('GET', '/v1/nodes');
    if (!listed) throw new Error('Nomad has no node yet');
    return this.#api.json<Node>('GET', `/v1/node/${listed.ID}`);
  }
}

/** What matters here of the unit that HashiCorp's packages bring. */
function unit(config: string, order: string): string {
  return `[Unit]
Description=Nomad
Wants=network-online.target
After=network-online.target
${order}

[Service]
Type=notify
ExecStart=${IN_MACHINE.nomad} agent -config ${config}
KillMode=process
KillSignal=SIGINT
Restart=on-failure
RestartSec=2
TasksMax=infinity

[Install]
WantedBy=multi-user.target
`;
}
