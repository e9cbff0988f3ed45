import { randomUUID } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { AllocationHandle } from './nomad/allocation-handle.ts';
import { AllocationRunner } from './nomad/allocation-runner.ts';
import { ApiServer, type Rights } from './nomad/api-server.ts';
import { BRIDGE } from './nomad/bridge.ts';
import { GroupNetworks, type NetworkOptions, PLUGIN_DIR } from './nomad/group-network.ts';
import { type JobSpec, newAllocation } from './nomad/job.ts';
import { PodmanDriver } from './nomad/podman-driver.ts';
import { HostPorts } from './nomad/ports.ts';
import { type RecordedAllocation, recorded } from './nomad/recorded.ts';
import { ServerState } from './nomad/server-state.ts';
import type { AllocationUnderTest, HostVolumeParameters, NomadUnderTest } from './nomad-under-test.ts';
import { until } from './until.ts';

export type { AllocationHandle } from './nomad/allocation-handle.ts';
export type { JobSpec, TaskSpec } from './nomad/job.ts';

/** How the stand-in is set up. */
export interface StandInOptions {
  /** Nomad's data_dir; made 0700 root where it is missing, as Nomad does. */
  readonly dataDir: string;
  /** Name of each socket block of the podman driver to the path of its socket: a gate's, or Podman's own. */
  readonly sockets: Readonly<Record<string, string>>;
  /** Whether the driver gives log FIFOs to the owner of the socket file, as from version 0.6.5 on; true unless told. */
  readonly driverGivesFifos?: boolean;
  /** Milliseconds between the driver's stats calls for a container, by which it also sees that one has ended; 100 unless told (the driver's own: 1000). */
  readonly statsIntervalMs?: number;
  /** Milliseconds between heartbeats of the event stream; 10000 unless told. */
  readonly heartbeatMs?: number;
  /** Tokens that Nomad knows; without this ACLs are off. */
  readonly tokens?: Readonly<Record<string, Rights>>;
  /** The port of 127.0.0.1 at which it serves the API; a free one unless told. */
  readonly apiPort?: number;
  /** How it makes the networks of groups with a network mode other than host. */
  readonly network?: NetworkOptions;
  /** Name to path of the `host_volume` blocks of the client's configuration; made, root's and 0700, where there is nothing. */
  readonly hostVolumes?: Readonly<Record<string, string>>;
}

/** A host volume as the API has it; the id is empty where it is not a dynamic one. */
interface HostVolume {
  readonly Name: string;
  readonly Path: string;
  readonly ReadOnly: boolean;
  readonly ID: string;
}

/**
 * Stands in for Nomad's client and servers: serves the recorded API, and does to the data dir and the podman sockets
 * what Nomad 2.0.5 and the podman driver do, in their order.
 */
export class StandInNomad implements NomadUnderTest {
  readonly dataDir: string;
  readonly allocDir: string;
  readonly nodeId: string;
  readonly api: ApiServer;
  readonly #state = new ServerState();
  readonly #driver: PodmanDriver;
  readonly leaseDir: string;
  readonly #networks: GroupNetworks;
  readonly #hostPorts = new HostPorts();
  readonly #allocations = new Map<string, AllocationHandle>();
  readonly #jobs = new Map<string, JobSpec>();
  readonly #hostVolumes = new Map<string, HostVolume>();
  readonly #csiVolumes = new Map<string, string>();
  readonly #variables = new Map<string, Readonly<Record<string, string>>>();
  readonly #node = recorded.node();
  readonly #agent: ReturnType<typeof recorded.agent>;

  constructor(options: StandInOptions) {
    this.dataDir = options.dataDir;
    this.allocDir = join(options.dataDir, 'alloc');
    const leasesDir = `${options.dataDir}-leases`;
    this.leaseDir = join(leasesDir, BRIDGE);
    this.#networks = new GroupNetworks(options.network ?? {}, leasesDir);
    for (const [Name, Path] of Object.entries(options.hostVolumes ?? {})) {
      mkdirSync(Path, { recursive: true, mode: 0o700 });
      this.#addHostVolume({ Name, Path, ReadOnly: false, ID: '' });
    }
    this.nodeId = this.#node.ID;
    this.#agent = agentSelf(options);
    this.#driver = new PodmanDriver({
      sockets: options.sockets,
      givesFifos: options.driverGivesFifos ?? true,
      statsIntervalMs: options.statsIntervalMs ?? 100,
    });
    this.api = new ApiServer({
      state: this.#state,
      agent: this.#agent,
      node: this.#node,
      heartbeatMs: options.heartbeatMs ?? 10_000,
      port: options.apiPort ?? 0,
      ...(options.tokens ? { tokens: options.tokens } : {}),
    });
  }

  get address(): string {
    return this.api.address;
  }

  /** Has the API say something else of the podman driver. @returns what takes it back */
  describeDriver(health: Readonly<Record<string, unknown>>, config: Readonly<Record<string, unknown>>): () => void {
    const plugin = this.#agent.config.Plugins.find(({ Name }) => Name === 'nomad-driver-podman');
    if (!plugin) throw new Error('the recorded agent has no podman driver');
    const [drivers, before] = [this.#node['Drivers'], plugin.Config];
    this.#node['Drivers'] = { podman: { Detected: true, Healthy: true, ...health } };
    plugin.Config = { ...before, ...config };
    return () => {
      this.#node['Drivers'] = drivers;
      plugin.Config = before;
    };
  }

  /** Has the driver begin with a task only once this has resolved for its allocation. @returns what takes it back */
  slowDriver(begin: (allocationId: string) => Promise<unknown>): () => void {
    const before = this.#driver.begin;
    this.#driver.begin = begin;
    return () => {
      this.#driver.begin = before;
    };
  }

  /** Makes the data dir (0700) and the alloc dir (0711), and serves the API. */
  async start(): Promise<void> {
    mkdirSync(this.dataDir, { recursive: true });
    chmodSync(this.dataDir, 0o700);
    mkdirSync(this.allocDir, { recursive: true });
    chmodSync(this.allocDir, 0o711);
    await this.api.start();
  }

  /** Places one allocation of the job on this node, and starts its life on the client. */
  runJob(job: JobSpec): AllocationHandle {
    return this.#place(job);
  }

  /** What a change of its priority alone leaves running; any other one ends the allocation first (tasksUpdated in Nomad's scheduler). */
  async updateJob({ id }: AllocationUnderTest, job: JobSpec): Promise<AllocationHandle> {
    const handle = this.#allocations.get(id);
    const known = this.#state.allocation(id);
    const former = this.#jobs.get(id);
    if (!handle || !known || !former) throw new Error(`there is no allocation ${id}`);
    const { priority = 50 } = job;
    if (JSON.stringify({ ...former, priority }) === JSON.stringify({ ...job, priority })) {
      this.#state.write({ ...known, Job: { ...known.Job, Priority: priority } }, 'PlanResult');
      return handle;
    }
    await handle.stop();
    return this.#place(job, job.keepsDisk ? { earlier: handle } : {});
  }

  async dispatchJob(job: JobSpec): Promise<AllocationHandle> {
    const suffix = randomUUID().slice(0, 8);
    return this.#place({ ...job, id: `${job.id}/dispatch-${Date.now()}-${suffix}` }, { parentId: job.id });
  }

  async forceJob(job: JobSpec): Promise<AllocationHandle> {
    return this.#place({ ...job, id: `${job.id}/periodic-${Math.floor(Date.now() / 1000)}` }, { parentId: job.id });
  }

  async createHostVolume(
    name: string,
    { uid = 0, gid = 0, mode = '0700' }: HostVolumeParameters = {},
  ): Promise<string> {
    const id = randomUUID();
    const path = join(this.dataDir, 'host_volumes', id);
    mkdirSync(join(this.dataDir, 'host_volumes'), { recursive: true, mode: 0o700 });
    mkdirSync(path);
    chmodSync(path, Number.parseInt(mode, 8));
    chownSync(path, uid, gid);
    this.#addHostVolume({ Name: name, Path: path, ReadOnly: false, ID: id });
    return path;
  }

  /** Sets a variable, and renders again what shows it. */
  async putVariable(path: string, items: Readonly<Record<string, string>>): Promise<void> {
    this.#variables.set(path, items);
    for (const allocation of this.#allocations.values()) await allocation.render();
  }

  async waitForDriver(): Promise<void> {
    await until('the podman driver is healthy', async () => {
      return (await this.#driver.health()) === 'All Podman sockets are responding.';
    });
  }

  async driverHealth(): Promise<readonly string[]> {
    return [...new Set([await this.#driver.health(), await this.#driver.health()])];
  }

  /** What the client does with its files when it has been killed and starts again; containers live on. */
  async restartClient(): Promise<void> {
    for (const allocation of this.#allocations.values()) await allocation.restore();
  }

  /** Makes a CSI volume whose plugin keeps it outside of the data dir. @returns its root directory, for its owner to be set */
  createCsiVolume(id: string): string {
    const path = join(`${this.dataDir}-csi`, id);
    mkdirSync(path, { recursive: true });
    this.#csiVolumes.set(id, path);
    return path;
  }

  #addHostVolume(volume: HostVolume): void {
    this.#hostVolumes.set(volume.Name, volume);
    this.#node['HostVolumes'] = Object.fromEntries(this.#hostVolumes);
  }

  #place(
    job: JobSpec,
    { earlier, parentId }: { earlier?: AllocationHandle; parentId?: string } = {},
  ): AllocationHandle {
    const id = randomUUID();
    this.#jobs.set(id, job);
    const ports = this.#hostPorts.allocate(job.ports ?? []);
    const runner = new AllocationRunner(id, job, {
      allocDir: this.allocDir,
      driver: this.#driver,
      networks: this.#networks,
      ports,
      volumes: {
        host: new Map([...this.#hostVolumes].map(([name, { Path }]) => [name, Path])),
        csi: this.#csiVolumes,
        csiDir: join(this.dataDir, 'client', 'csi'),
      },
      variables: this.#variables,
      earlier: earlier?.allocDir,
      report: (update) => {
        const known = this.#state.allocation(id);
        if (known) this.#state.write({ ...known, ...update }, 'AllocationUpdated');
      },
    });
    const placement = { nodeId: this.nodeId, ports, now: Date.now() * 1e6, ...(parentId ? { parentId } : {}) };
    const allocation = newAllocation(id, job, placement);
    // A plan's result has nothing of the client's yet; these fields are missing from the recorded events too.
    const { TaskStates: _, NetworkStatus: __, ClientDescription: ___, ...placed } = allocation;
    this.#state.write(placed as RecordedAllocation, 'PlanResult');
    const handle = new AllocationHandle(runner, this.#state);
    this.#allocations.set(id, handle);
    runner.start();
    return handle;
  }

  /** Puts an allocation before the API that no client runs: of another node, or of an earlier life. */
  announce(allocation: RecordedAllocation, type: Parameters<ServerState['write']>[1] = 'PlanResult'): void {
    this.#state.write(allocation, type);
  }

  /** The index of a write that is none of this node's. */
  skipIndex(): number {
    return this.#state.skipIndex();
  }

  /** The allocation as the API would give it now; undefined where Nomad knows none of this id. */
  allocation(id: string): RecordedAllocation | undefined {
    return this.#state.allocation(id);
  }

  /** CNI CHECK of an allocation's network, as by a client that has been started again. @throws Error with what a plugin finds wrong */
  check(allocationId: string): Promise<void> {
    return this.#networks.check(allocationId);
  }

  /** Forgets the network of an allocation, as Nomad 2.0.5 does that is killed while it stops the allocation: it stays. */
  forgetNetwork(allocationId: string): void {
    this.#networks.forget(allocationId);
  }

  /** Every request that the driver has sent to a socket so far: method and path, in order. */
  requestsTo(socket: string): readonly string[] {
    return this.#driver.requestsTo(socket);
  }

  /** Stops and collects every allocation, then the API. */
  async stop(): Promise<void> {
    try {
      await Promise.all([...this.#allocations.values()].map((allocation) => allocation.gc()));
    } finally {
      await this.api.stop();
      this.#driver.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Makes a stand-in and starts it. */
export async function startStandInNomad(options: StandInOptions): Promise<StandInNomad> {
  const nomad = new StandInNomad(options);
  await nomad.start();
  return nomad;
}

function agentSelf({ dataDir, sockets, network }: StandInOptions): ReturnType<typeof recorded.agent> {
  const agent = recorded.agent();
  agent.config.DataDir = dataDir;
  agent.config.Client['CNIPath'] = network?.pluginDir ?? PLUGIN_DIR;
  const plugin = agent.config.Plugins.find(({ Name }) => Name === 'nomad-driver-podman');
  if (!plugin) throw new Error('the recorded agent has no podman driver');
  plugin.Config['socket'] = Object.entries(sockets).map(([name, path]) => ({ name, socket_path: `unix://${path}` }));
  return agent;
}
