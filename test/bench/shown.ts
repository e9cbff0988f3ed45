import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { until } from '../support/until.ts';
import type { Bench } from './bench.ts';
import { createUnacceptable } from './creates.ts';
import { PreparedAllocation } from './prepared-allocation.ts';
import { type Summary, summarize } from './samples.ts';

/** What it costs that a user is shown many allocations; times in milliseconds. */
export interface ShownResults {
  readonly allocations: number;
  /** From the create of a container to its having been started: with one allocation, and with all of them running. */
  readonly startWithOne: Summary;
  readonly startWithAll: Summary;
  /** The same while the containers of all have been created and none has been started. */
  readonly startWithAllShown: Summary;
  /** Mounts in the mount namespace of the user's Podman, and in the host's, before and with all of them shown. */
  readonly mounts: { readonly before: MountCount; readonly after: MountCount };
  /** Reading and splitting the host's table of mounts, as systemd does at each change, and that of the user's Podman. */
  readonly reading: { readonly host: Summary; readonly podman: Summary };
}

interface MountCount {
  readonly podman: number;
  readonly host: number;
}

const ALLOCATIONS = 1000;
const STARTS = 20;
const READINGS = 50;
const CREATE = '/v1.0.0/libpod/containers/create';

/** Shows one user a thousand allocations, each by a create of its own, and looks at what her containers then cost. */
export async function measureShown(bench: Bench): Promise<ShownResults> {
  const all = Array.from({ length: ALLOCATIONS }, () => new PreparedAllocation(bench.nomad));
  const [first, ...others] = all;
  if (!first) throw new Error('no allocations');
  for (const allocation of all) await allocation.build();
  const before = countMounts();
  first.announce();
  const startWithOne = await measureStarts(bench, first);
  for (const allocation of others) {
    allocation.announce();
    await createUnacceptable(bench.gate, allocation);
  }
  const after = countMounts();
  const startWithAllShown = await measureStarts(bench, first);
  for (const allocation of others) allocation.run();
  // What was to be created may not have been started for a minute.
  await setTimeout(65_000);
  await bench.nomad.api.feed(Buffer.from(`{"NodeID":"${bench.nomad.nodeId}"\n`));
  await until('what runs is shown no longer', () => countMounts().podman < before.podman + 6 * 100, 60_000);
  const startWithAll = await measureStarts(bench, first);
  const reading = { host: readings('self'), podman: readings(podmanPid()) };
  for (const allocation of all) allocation.end();
  await until('the agent has let go of all', async () => (await bench.ready()) === 0, 120_000);
  for (const allocation of all) await allocation.destroy();
  return {
    allocations: ALLOCATIONS,
    startWithOne,
    startWithAll,
    startWithAllShown,
    mounts: { before, after },
    reading,
  };
}

async function measureStarts({ gate }: Bench, allocation: PreparedAllocation): Promise<Summary> {
  const path = `/v1.0.0/libpod/containers/${allocation.container}`;
  const samples: number[] = [];
  for (let round = 0; round < STARTS; round++) {
    const created = await gate.time('POST', CREATE, [201], {
      ...allocation.createBody(),
      // Nobody reads the FIFO here.
      log_configuration: { driver: 'none' },
    });
    samples.push(created + (await gate.time('POST', `${path}/start`, [204])));
    await gate.time('DELETE', `${path}?force=true&timeout=0`, [200, 204]);
  }
  return summarize(samples);
}

function countMounts(): MountCount {
  return { podman: mountsOf(podmanPid()).length, host: mountsOf('self').length };
}

function mountsOf(pid: string): string[] {
  return readFileSync(`/proc/${pid}/mountinfo`, 'utf8').trimEnd().split('\n');
}

function readings(pid: string): Summary {
  const samples: number[] = [];
  for (let round = 0; round < READINGS; round++) {
    const from = performance.now();
    mountsOf(pid);
    samples.push(performance.now() - from);
  }
  return summarize(samples);
}

/** The one that serves the API. */
function podmanPid(): string {
  const found = readdirSync('/proc').find((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes('system\0service');
    } catch {
      return false; // it has ended
    }
  });
  if (found === undefined) throw new Error("the user's Podman does not run");
  return found;
}
