import { availableParallelism, release } from 'node:os';
import { mustRun } from '../support/command.ts';
import { until } from '../support/until.ts';
import { type Bench, startBench } from './bench.ts';
import { measureConnections } from './connections.ts';
import { measureColdCreates, measureCreates, measureReadyCreates } from './creates.ts';
import { measureEventStream } from './event-stream.ts';
import type { GateResults } from './gate-report.ts';
import { measureManyAllocations } from './many-allocations.ts';
import { measureMigrations } from './migrations.ts';
import { measureNeighbour } from './neighbour.ts';
import { measurePassThrough } from './pass-through.ts';
import { PreparedAllocation } from './prepared-allocation.ts';
import type { BenchResults, WaysResults } from './results.ts';
import { measureShown } from './shown.ts';
import { measureSlowNeighbour } from './slow-neighbour.ts';
import { measureStart } from './start.ts';

const ALLOCATIONS = 100;

/** Measures everything, one after the other. @param say told what is being done. @throws Error where it cannot */
export async function runBench(say: (what: string) => void): Promise<BenchResults> {
  say('measuring: starts');
  const start = await measureStart();
  const gate = await measureGate(say);
  const ways = await measureWays(say);
  say('measuring: network namespaces handed over');
  const migrations = await measureMigrations();
  return { machine: await describeMachine(), start, ...gate, ways, migrations, scale: await measureScale(say) };
}

/** Measures the ways to a Podman alone. */
export async function runWaysBench(say: (what: string) => void): Promise<WaysResults> {
  return { machine: await describeMachine(), ways: await measureWays(say) };
}

async function measureWays(say: (what: string) => void): Promise<GateResults> {
  say('preparing: a sandbox, the agent as it is installed');
  await using bench = await startBench('bob');
  say('measuring: a connection for each request');
  const connections = await measureConnections(bench, 'bob');
  say('measuring: a neighbour of a Podman that hangs');
  const neighbour = await measureNeighbour(bench, { user: 'bob', hanging: 'alice' });
  say('measuring: a neighbour of a user whose looks are slow');
  return { connections, neighbour, slowNeighbour: await measureSlowNeighbour(bench, { user: 'bob', slow: 'alice' }) };
}

async function measureScale(say: (what: string) => void): Promise<BenchResults['scale']> {
  say('preparing: a sandbox, the agent as it is installed');
  await using bench = await startBench();
  say('measuring: events of other nodes');
  const events = await measureEventStream(bench);
  say('measuring: a node of many allocations');
  const node = await measureManyAllocations(bench);
  say('measuring: a user who is shown many allocations');
  return { events, node, shown: await measureShown(bench) };
}

async function measureGate(
  say: (what: string) => void,
): Promise<Omit<BenchResults, 'machine' | 'start' | 'ways' | 'migrations' | 'scale'>> {
  say(`preparing: a sandbox, the agent as it is installed, ${ALLOCATIONS} allocations`);
  await using bench = await startBench();
  await using allocations = await buildAllocations(bench);
  say('measuring: creates for allocations that are cold');
  const cold = await measureColdCreates(bench, allocations.all);
  await until('all allocations are ready', async () => (await bench.ready()) === ALLOCATIONS);
  const prepared = bench.agent.memory('VmRSS');
  say('measuring: creates for allocations that are ready');
  const ready = await measureReadyCreates(bench, allocations.all);
  say('measuring: whole creates');
  const create = await measureCreates(bench, allocations.all);
  say('measuring: what passes through');
  const { stats, ping } = await measurePassThrough(bench);
  const memory = { prepared, end: bench.agent.memory('VmRSS'), peak: bench.agent.memory('VmHWM') };
  return { allocations: ALLOCATIONS, create, ready, cold, stats, ping, memory };
}

async function describeMachine(): Promise<BenchResults['machine']> {
  const podman = (await mustRun(['podman', '--version'])).trim().replace('podman version ', '');
  return { podman, node: process.versions.node, kernel: release(), cpus: availableParallelism() };
}

/** Directories of many allocations that Nomad's API does not know yet, and that the agent has seen and left alone. */
async function buildAllocations(bench: Bench): Promise<{ all: readonly PreparedAllocation[] } & AsyncDisposable> {
  const all = Array.from({ length: ALLOCATIONS }, () => new PreparedAllocation(bench.nomad));
  for (const allocation of all) await allocation.build();
  await until('the agent has seen every directory', async () => {
    const gone = await bench.metric('nomad_rootless_reconcile_total{result="gone"}');
    return (gone ?? 0) >= ALLOCATIONS && (await bench.metric('nomad_rootless_queue_depth')) === 0;
  });
  return {
    all,
    [Symbol.asyncDispose]: async () => {
      // While the agent holds something of theirs, their directories cannot be removed.
      for (const allocation of all) allocation.end();
      await until('the agent has let go of all', async () => (await bench.ready()) === 0);
      for (const allocation of all) await allocation.destroy();
    },
  };
}
