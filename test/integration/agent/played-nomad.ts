import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { NodeFollower } from '../../../src/agent/node-follower.ts';
import { nomadConnection } from '../../../src/agent/nomad-connection.ts';
import { createMetrics } from '../../../src/metrics.ts';
import { Nomad } from '../../../src/nomad/nomad.ts';
import { labelsOf, stateOf } from '../../../src/reconcile/record.ts';
import { ACCOUNTS, CONFIG } from '../../support/followed.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { ApiServer, type Rights } from '../../support/nomad/api-server.ts';
import { newAllocation } from '../../support/nomad/job.ts';
import { recorded } from '../../support/nomad/recorded.ts';
import { ServerState } from '../../support/nomad/server-state.ts';
import { recordingLog } from '../../support/recording-log.ts';
import { GOOD_SURROUNDINGS } from '../../support/surroundings.ts';
import { SwitchedHost } from '../../support/switched-host.ts';

/** Nomad's servers and this node's client, over real HTTP by a unix socket, with real directories. */
export class PlayedNomad implements AsyncDisposable {
  readonly state = new ServerState();
  readonly api: ApiServer;
  readonly tokenFile: string;
  readonly allocDir: string;
  readonly agent = recorded.agent();
  readonly node = recorded.node();
  readonly #dir = mkdtempSync(join(tmpdir(), 'played-nomad-'));

  constructor({ tokens }: { tokens?: Readonly<Record<string, Rights>> } = {}) {
    this.tokenFile = join(this.#dir, 'nomad_token');
    this.allocDir = join(this.#dir, 'alloc');
    mkdirSync(this.allocDir);
    this.agent.config.DataDir = this.#dir;
    const plugin = this.agent.config.Plugins.find(({ Name }) => Name === 'nomad-driver-podman');
    const sockets = [...CONFIG.users.keys()].map((name) => ({
      name,
      socket_path: `unix://${join(CONFIG.gate.dir, name)}.sock`,
    }));
    if (plugin) plugin.Config['socket'] = sockets;
    const socketPath = join(this.#dir, 'api.sock');
    const { state, agent, node } = this;
    this.api = new ApiServer({ state, agent, node, heartbeatMs: 20, socketPath, ...(tokens ? { tokens } : {}) });
  }

  /** Places a running allocation of alice's here, as a plan does: with its directory. @returns its id */
  place({ namespace = 'default', nodeId = this.node.ID } = {}): string {
    const id = randomUUID();
    const job = { id: 'a/b "c"', namespace, meta: { podman_user: 'alice' }, tasks: [{ name: 't' }] };
    mkdirSync(join(this.allocDir, id));
    this.state.write(newAllocation(id, job, { nodeId, ports: [], now: Date.now() * 1e6 }), 'PlanResult');
    return id;
  }

  finish(id: string): void {
    const known = this.state.allocation(id);
    if (known) this.state.write({ ...known, DesiredStatus: 'stop', ClientStatus: 'complete' }, 'AllocationUpdated');
  }

  /** What becomes of an allocation that is purged: the servers say nothing, and its directory goes. */
  purge(id: string): void {
    this.state.forget(id);
    this.removeDirectory(id);
  }

  removeDirectory(id: string): void {
    rmSync(join(this.allocDir, id), { recursive: true });
  }

  /** What the client on this machine remembers as its node's id. */
  writeClientId(id: string): void {
    mkdirSync(join(this.#dir, 'client'), { recursive: true });
    writeFileSync(join(this.#dir, 'client', 'client-id'), id);
  }

  directories(): ReadonlySet<string> {
    return new Set(readdirSync(this.allocDir));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.api.stop();
    rmSync(this.#dir, { recursive: true });
  }
}

/** A follower of it, on a host of its own, with a clock that the test moves. */
export class PlayedFollower implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly log = recordingLog();
  readonly metrics = createMetrics('test');
  readonly follower: NodeFollower;
  readonly host: SwitchedHost;
  readonly #door: Nomad;
  readonly #following: Promise<void>;

  /** @param withToken whether it takes its token from Nomad's token file */
  constructor(nomad: PlayedNomad, withToken = false) {
    const tokenFile = withToken ? nomad.tokenFile : undefined;
    const connection = { ...CONFIG.nomad, address: nomad.api.address, tokenFile };
    this.host = new SwitchedHost(nomad.allocDir, () => nomad.directories());
    this.#door = new Nomad(nomadConnection(connection));
    this.follower = new NodeFollower({
      config: { ...CONFIG, nomad: connection },
      nomad: this.#door,
      accounts: ACCOUNTS,
      lookAround: () => GOOD_SURROUNDINGS,
      makeHost: () => this.host,
      clock: this.clock,
      log: this.log,
      metrics: this.metrics,
    });
    this.#following = this.follower.follow();
  }

  /** What is on this host, and what is said of it. */
  state() {
    const records = this.follower.records().map((record) => {
      return [record.id, stateOf(record), ...labelsOf(record).map(({ user }) => user)].join(' ');
    });
    return { on: [...this.host.on.keys()].sort(), records: records.sort(), reasons: this.follower.reasons() };
  }

  /** Lets time pass, a step of the clock in a few real milliseconds. */
  async pass(ms: number, step = 1000): Promise<void> {
    for (let passed = 0; passed < ms; passed += step) {
      this.clock.advance(step);
      await setTimeout(3);
    }
  }

  /** Lets time pass until a check holds. @throws what the check throws, once it has not held for 20 minutes */
  async eventually(check: () => void): Promise<void> {
    for (let passed = 0; ; passed += 1000) {
      try {
        check();
        return;
      } catch (error) {
        if (passed > 1_200_000) throw error;
      }
      await this.pass(1000);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.follower.stop();
    await this.#following;
    await this.#door.close();
  }
}
