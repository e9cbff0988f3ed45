import type { Surroundings } from '../../src/agent/node-checks.ts';
import { NodeFollower, type NodeFollowerParts } from '../../src/agent/node-follower.ts';
import { createMetrics } from '../../src/metrics.ts';
import { labelsOf, stateOf } from '../../src/reconcile/record.ts';
import { ManualClock } from './manual-clock.ts';
import { NOMAD_CONFIG } from './nomad-config.ts';
import { recordingLog } from './recording-log.ts';
import type { SimulatedNomad } from './simulated-nomad.ts';
import { GOOD_SURROUNDINGS } from './surroundings.ts';
import { SwitchedHost } from './switched-host.ts';

export const INTERVAL_MS = 300_000;

/** What a follower works with in tests; alice and bob have a gate. */
export const CONFIG: NodeFollowerParts['config'] = {
  nomad: NOMAD_CONFIG,
  metaKey: 'podman_user',
  minUid: 1000,
  ordering: 'gate',
  gate: { dir: '/run/nomad-rootless/gate', timeoutMs: 30_000 },
  policy: undefined,
  users: new Map(['alice', 'bob'].map((name) => [name, { socket: undefined }])),
  resyncIntervalMs: INTERVAL_MS,
  removeGhostsAfterMs: INTERVAL_MS,
};

/** alice is 1001, bob 1002. */
export const ACCOUNTS: NodeFollowerParts['accounts'] = {
  get: (user) => {
    const id = user === 'alice' ? 1001 : 1002;
    const account = { name: String(user), uid: id, gid: id, home: `/home/${user}` };
    return { kind: 'known', account };
  },
  onAnswer: () => () => undefined,
};

/** Nothing here waits for anything but promises and the clock: what can happen now has happened after so many turns. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 100; turn++) await undefined;
}

/** A follower of a simulated Nomad, on a host of its own. */
export class Followed {
  readonly clock = new ManualClock();
  readonly log = recordingLog();
  /** What it finds of its host. */
  surroundings: () => Surroundings = () => GOOD_SURROUNDINGS;
  /**
   * The allocations that lost something although they had not ended and have their directory. What an agent knew before
   * it was started again it does not know after: then it believes servers that do not know an allocation.
   */
  readonly robbed: string[] = [];
  /** What looking at the host fails with. */
  hostError: Error | undefined;
  follower: NodeFollower;
  readonly #nomad: SimulatedNomad;
  readonly #host: SwitchedHost;
  #following: Promise<void>;
  #wasRestarted = false;

  constructor(nomad: SimulatedNomad) {
    this.#nomad = nomad;
    this.#host = new SwitchedHost('/nowhere/nomad/alloc', () => nomad.directories);
    this.#host.onLoss = (id) => {
      if (!nomad.ended.has(id) && (!this.#wasRestarted || nomad.allocations.has(id))) this.robbed.push(id);
    };
    this.follower = this.#newFollower();
    this.#following = this.follower.follow();
  }

  /** Lets time pass, with the heartbeats of Nomad. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 1000) {
      if (passed % 30_000 === 0) this.#nomad.heartbeat();
      this.clock.advance(Math.min(1000, ms - passed));
      await settle();
    }
  }

  /** What is on this host, and what is said of it. */
  state() {
    const records = this.follower.records().map((record) => {
      const users = labelsOf(record).map(({ user }) => user);
      return [record.id, stateOf(record), ...users, record.allocation?.modifyIndex].join(' ');
    });
    const on = [...this.#host.on].map(([id, uids]) => `${id} ${uids}`);
    return { on: on.sort(), records: records.sort(), reasons: this.follower.reasons() };
  }

  async restart(): Promise<void> {
    await this.stop();
    this.#wasRestarted = true;
    this.follower = this.#newFollower();
    this.#following = this.follower.follow();
  }

  async stop(): Promise<void> {
    this.follower.stop();
    this.#nomad.deliverAll();
    await this.#following;
  }

  #newFollower(): NodeFollower {
    return new NodeFollower({
      config: CONFIG,
      nomad: this.#nomad,
      accounts: ACCOUNTS,
      lookAround: () => this.surroundings(),
      makeHost: () => {
        if (this.hostError) throw this.hostError;
        return this.#host;
      },
      clock: this.clock,
      log: this.log,
      metrics: createMetrics('test'),
    });
  }
}

/** What a follower that has just begun and listed once makes of a host on which nothing was done. */
export async function cleanState(nomad: SimulatedNomad) {
  const fresh = new Followed(nomad);
  await fresh.pass(3000);
  const state = fresh.state();
  await fresh.stop();
  return state;
}
