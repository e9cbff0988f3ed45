import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandResult, runCommand } from './command.ts';
import { BRIDGE } from './nomad/bridge.ts';
import type { NetworkOptions } from './nomad/group-network.ts';
import type { JobSpec } from './nomad/job.ts';
import type { RecordedAllocation } from './nomad/recorded.ts';
import type { AllocationUnderTest, HostVolumeParameters, NomadUnderTest } from './nomad-under-test.ts';
import { CLIENT_ADDRESS, clientConfig, SERVER_ADDRESS, serverConfig } from './real-nomad/agent-config.ts';
import { RealAllocation } from './real-nomad/allocation.ts';
import { Api } from './real-nomad/api.ts';
import { hideControllers } from './real-nomad/cgroups.ts';
import { coverCniCache } from './real-nomad/cni-cache.ts';
import { NomadProcess } from './real-nomad/nomad-process.ts';
import { registration } from './real-nomad/register-job.ts';
import type { Sandbox } from './sandbox.ts';
import { until } from './until.ts';

/** Where a real Nomad's client answers, in the sandbox's network namespace: known before it starts. */
export const REAL_NOMAD_ADDRESS = CLIENT_ADDRESS;

/** The driver looks at its sockets again 30 s after it has found one dead. */
/** The driver asks its sockets every 30 s (fingerprintPeriod in driver.go). */
const TWO_ROUNDS_MS = 62_000;
const DRIVER_TIMEOUT_MS = 45_000;

/** How a real Nomad is set up. */
export interface RealNomadOptions {
  readonly sandbox: Sandbox;
  /** The client's data_dir; made 0700 root. */
  readonly dataDir: string;
  /** Name of each socket block of the podman driver to the path of its socket. */
  readonly sockets: Readonly<Record<string, string>>;
  /** Whether ACLs are on; off unless told. With them, what this class does it does with the management token. */
  readonly acl?: boolean;
  /** How it makes the networks of groups. */
  readonly network?: NetworkOptions;
  /** Name to path of the `host_volume` blocks of the client's configuration; made, root's and 0700, where there is nothing. */
  readonly hostVolumes?: Readonly<Record<string, string>>;
  /** `recover_stopped` of the podman driver; false unless told. */
  readonly recoverStopped?: boolean;
}

interface Node {
  readonly ID: string;
  readonly Status: string;
  readonly HostVolumes?: Readonly<Record<string, unknown>>;
  readonly Drivers: Readonly<Record<string, { readonly Healthy: boolean; readonly HealthDescription: string }>>;
}

/**
 * The `nomad` on PATH, with the podman driver of NOMAD_PLUGIN_DIR. Server and client are processes of their own: in one
 * process the client may ask to be registered before the server can, and asks again only after half a minute.
 */
export class RealNomad implements NomadUnderTest {
  readonly address = REAL_NOMAD_ADDRESS;
  readonly dataDir: string;
  readonly allocDir: string;
  readonly leaseDir = `/run/cni/${BRIDGE}`;
  readonly api = new Api(REAL_NOMAD_ADDRESS);
  readonly #server: NomadProcess;
  readonly #client: NomadProcess;
  readonly #acl: boolean;
  readonly #sandbox: Sandbox;
  /** What gives back to the sandbox, and to the machine, what Nomad needs to be otherwise. */
  #restore: AsyncDisposableStack | undefined;

  constructor(options: RealNomadOptions) {
    const { sandbox, dataDir, sockets, acl = false, network = {}, hostVolumes = {}, recoverStopped = false } = options;
    const { chains = [], ...clientNetwork } = network;
    this.dataDir = dataDir;
    this.allocDir = join(dataDir, 'alloc');
    this.#acl = acl;
    this.#sandbox = sandbox;
    mkdirSync(dataDir, { mode: 0o700 });
    const configDir = `${dataDir}-cni`;
    mkdirSync(configDir);
    for (const chain of chains) writeFileSync(join(configDir, `${chain.name}.conflist`), JSON.stringify(chain));
    for (const path of Object.values(hostVolumes)) mkdirSync(path, { recursive: true, mode: 0o700 });
    const pluginDir = process.env.NOMAD_PLUGIN_DIR ?? '';
    const serverData = join(sandbox.directory, 'nomad-server');
    this.#server = new NomadProcess(`${serverData}-agent`, serverConfig({ dataDir: serverData, acl }));
    const ofClient = { dataDir, pluginDir, sockets, acl, hostVolumes, recoverStopped };
    this.#client = new NomadProcess(
      `${dataDir}-agent`,
      clientConfig({ ...ofClient, network: { ...clientNetwork, configDir } }),
    );
  }

  /** Starts server and client, and waits until the node is ready. @throws Error with the end of a log when one ends before */
  async start(): Promise<void> {
    const restore = new AsyncDisposableStack();
    this.#restore = restore;
    restore.defer(await hideControllers());
    restore.defer(await coverCniCache(this.#sandbox));
    const server = new Api(SERVER_ADDRESS);
    await this.#server.start(async () => {
      const { keys } = await server.json<{ keys: unknown[] }>('GET', '/.well-known/jwks.json');
      return keys.length > 0;
    });
    if (this.#acl) {
      this.api.token = (await server.json<{ SecretID: string }>('PUT', '/v1/acl/bootstrap')).SecretID;
    }
    await this.startClient();
  }

  /** Starts the client, again too, and waits until its node is ready. */
  async startClient(): Promise<void> {
    await this.#client.start(async () => (await this.#node()).Status === 'ready');
  }

  /** Kills the client by SIGKILL; tasks, their log collectors and the driver's process live on. */
  async killClient(): Promise<void> {
    await this.#client.end('SIGKILL');
  }

  /** Kills the podman driver's process with the client, so that the next one has all its containers to take up. */
  async killClientAndDriver(): Promise<void> {
    const drivers = this.#client.children('nomad-driver-podman');
    if (drivers.length === 0) throw new Error('the client has no process of the podman driver');
    await this.killClient();
    for (const pid of drivers) killIfThere(pid);
  }

  /** Waits until the podman driver has found all its sockets alive. @throws Error with what it says otherwise */
  async waitForDriver(): Promise<void> {
    await until(
      'the podman driver is healthy',
      async () => {
        const driver = (await this.#node()).Drivers['podman'];
        if (!driver?.Healthy) throw new Error(driver?.HealthDescription ?? 'Nomad has no podman driver');
        return true;
      },
      DRIVER_TIMEOUT_MS,
    );
  }

  async runJob(job: JobSpec): Promise<RealAllocation> {
    await this.api.json('PUT', '/v1/jobs', registration(job));
    return this.allocationOf(job.id, job.namespace);
  }

  async updateJob(_: AllocationUnderTest, job: JobSpec): Promise<RealAllocation> {
    const { EvalID } = await this.api.json<{ EvalID: string }>('PUT', '/v1/jobs', registration(job));
    await until(`evaluation ${EvalID} is through`, async () => {
      const { Status } = await this.api.json<{ Status: string }>('GET', `/v1/evaluation/${EvalID}`);
      return Status === 'complete';
    });
    return this.allocationOf(job.id, job.namespace);
  }

  async dispatchJob(job: JobSpec): Promise<RealAllocation> {
    const { Job } = registration(job);
    await this.api.json('PUT', '/v1/jobs', { Job: { ...Job, ParameterizedJob: {} } });
    const path = `/v1/job/${job.id}/dispatch`;
    const { DispatchedJobID } = await this.api.json<{ DispatchedJobID: string }>('PUT', path, {});
    return this.allocationOf(encodeURIComponent(DispatchedJobID), job.namespace);
  }

  async forceJob(job: JobSpec): Promise<RealAllocation> {
    const { Job } = registration(job);
    const Periodic = { Enabled: true, SpecType: 'cron', Spec: '0 0 1 1 *' };
    await this.api.json('PUT', '/v1/jobs', { Job: { ...Job, Periodic } });
    const { EvalID } = await this.api.json<{ EvalID: string }>('PUT', `/v1/job/${job.id}/periodic/force`);
    const { JobID } = await this.api.json<{ JobID: string }>('GET', `/v1/evaluation/${EvalID}`);
    return this.allocationOf(encodeURIComponent(JobID), job.namespace);
  }

  async createHostVolume(name: string, { uid, gid, mode }: HostVolumeParameters = {}): Promise<string> {
    const { ID: NodeID } = await this.#node();
    const given = Object.entries({ uid, gid, mode }).filter(([, value]) => value !== undefined);
    const Volume = {
      Name: name,
      Type: 'host',
      PluginID: 'mkdir',
      NodeID,
      RequestedCapabilities: [{ AttachmentMode: 'file-system', AccessMode: 'single-node-multi-writer' }],
      Parameters: Object.fromEntries(given.map(([key, value]) => [key, String(value)])),
    };
    const created = await this.api.json<{ Volume: { HostPath: string } }>('PUT', '/v1/volume/host/create', { Volume });
    await until(`the node has volume ${name}`, async () => name in ((await this.#node()).HostVolumes ?? {}));
    return created.Volume.HostPath;
  }

  async putVariable(path: string, items: Readonly<Record<string, string>>): Promise<void> {
    await this.api.json('PUT', `/v1/var/${path}`, { Path: path, Items: items });
  }

  async restartClient(): Promise<void> {
    await this.killClient();
    await this.startClient();
    await this.waitForDriver();
  }

  async driverHealth(): Promise<readonly string[]> {
    const seen = new Set<string>();
    const from = Date.now();
    while (Date.now() - from < TWO_ROUNDS_MS) {
      const { HealthDescription } = (await this.#node()).Drivers['podman'] ?? {};
      if (HealthDescription !== undefined) seen.add(HealthDescription);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    return [...seen];
  }

  /** The newest allocation of a job. @throws Error when none is placed in time, with what the scheduler says */
  async allocationOf(jobId: string, namespace = 'default'): Promise<RealAllocation> {
    const job = `/v1/job/${jobId}`;
    const query = `?namespace=${namespace}`;
    const placed = await until(
      `job ${jobId} is placed`,
      async () => {
        const all = await this.api.json<RecordedAllocation[]>('GET', `${job}/allocations${query}`);
        const [newest] = all.sort((a, b) => b.CreateIndex - a.CreateIndex);
        if (newest) return newest;
        throw new Error(await this.api.text('GET', `${job}/evaluations${query}`));
      },
      DRIVER_TIMEOUT_MS,
    );
    return new RealAllocation(this.api, placed, this.allocDir);
  }

  /**
   * Has Go collect the garbage of the client's process now, and close what nothing refers to any more; by itself it does so
   * every two minutes at the latest. Needs `acl`: without, Nomad has no profiles to show.
   */
  async collectGarbage(): Promise<void> {
    const { ID } = await this.#node();
    await this.api.text('GET', `/v1/agent/pprof/heap?gc=1&node_id=${ID}`);
  }

  /** Runs Nomad's command line against this Nomad, with a plain argument list. */
  command(args: readonly string[], input = ''): Promise<CommandResult> {
    return runCommand(['nomad', ...args], { env: this.api.environment, input });
  }

  /** Stops and collects every allocation, so that nothing is left mounted, then Nomad itself. */
  async stop(): Promise<void> {
    try {
      const known = await this.api.json<RecordedAllocation[]>('GET', '/v1/allocations?namespace=*');
      await Promise.all(known.map((placed) => new RealAllocation(this.api, placed, this.allocDir).gc()));
    } finally {
      await this.end('SIGTERM');
    }
  }

  /** Ends Nomad's processes and leaves everything else as it is. */
  async end(signal: NodeJS.Signals): Promise<void> {
    await this.#client.end(signal);
    await this.#server.end(signal);
    await this.#restore?.disposeAsync();
  }

  async #node(): Promise<Node> {
    const [listed] = await this.api.json<{ ID: string }[]>('GET', '/v1/nodes');
    if (!listed) throw new Error('Nomad has no node yet');
    return this.api.json<Node>('GET', `/v1/node/${listed.ID}`);
  }
}

/** Makes a real Nomad, starts it and waits until its podman driver is healthy: what listens at the sockets must be there. */
export async function startRealNomad(options: RealNomadOptions): Promise<RealNomad> {
  const nomad = new RealNomad(options);
  try {
    await nomad.start();
    await nomad.waitForDriver();
    return nomad;
  } catch (error) {
    await nomad.end('SIGKILL');
    throw error;
  }
}

/** A driver ends by itself when it sees that its client has gone. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
