import { setTimeout } from 'node:timers/promises';
import { until } from '../support/until.ts';
import type { Bench } from './bench.ts';
import { keepComing } from './event-stream.ts';
import { PreparedAllocation } from './prepared-allocation.ts';
import { type Summary, summarize } from './samples.ts';

/** What a node of many allocations costs; times in milliseconds. */
export interface ManyAllocationsResults {
  readonly allocations: number;
  /** From asking for the listing until every allocation was looked at and found settled, and the agent does nothing more. */
  readonly resync: Summary;
  /** From writing the event of a new allocation until its first step was done, while events of other nodes come. */
  readonly firstStep: Summary;
  /** Of the agent, resident with all of them prepared, in MiB. */
  readonly memory: number;
}

const ALLOCATIONS = 1000;
const RESYNCS = 10;
const NEWCOMERS = 100;
/** Between one new allocation and the next, so that each comes alone. */
const APART_MS = 50;
/** Longer than anything that a pass waits for. */
const QUIET_MS = 300;
/** What it may run in that time and do nothing of note. */
const IDLE_SECONDS = 0.03;

/** Prepares many allocations of one user, and measures how the agent does with them. */
export async function measureManyAllocations(bench: Bench): Promise<ManyAllocationsResults> {
  const settled = await build(bench, ALLOCATIONS);
  const newcomers = await build(bench, NEWCOMERS);
  for (const allocation of settled) allocation.announce();
  await until('all are ready', async () => (await bench.ready()) === ALLOCATIONS, 120_000);
  const memory = bench.agent.memory('VmRSS');
  const resyncs: number[] = [];
  for (let round = 0; round < RESYNCS; round++) resyncs.push(await resync(bench));
  const firstSteps = await firstStepsOf(bench, newcomers);
  const resynced = summarize(resyncs);
  for (const allocation of [...settled, ...newcomers]) allocation.end();
  await until('the agent has let go of all', async () => (await bench.ready()) === 0, 120_000);
  for (const allocation of [...settled, ...newcomers]) await allocation.destroy();
  return { allocations: ALLOCATIONS, resync: resynced, firstStep: summarize(firstSteps), memory };
}

async function build({ nomad }: Bench, count: number): Promise<PreparedAllocation[]> {
  const all = Array.from({ length: count }, () => new PreparedAllocation(nomad));
  for (const allocation of all) await allocation.build();
  return all;
}

/** Sends half an event that names the node, after which the agent lists everything and looks at each allocation. */
async function resync({ agent, nomad, metric }: Bench): Promise<number> {
  const settled = async () => (await metric('nomad_rootless_reconcile_total{result="settled"}')) ?? 0;
  // More than the quiet that the agent keeps between two listings.
  await setTimeout(1500);
  const [passes, from] = [await settled(), nomad.api.requests.length];
  await nomad.api.feed(Buffer.from(`{"NodeID":"${nomad.nodeId}"\n`));
  const asked = await until('the agent lists', () =>
    nomad.api.requests.slice(from).find(({ endpoint }) => endpoint === 'node-allocations'),
  );
  const quietSince = await untilQuiet(agent);
  await until('every allocation was looked at', async () => (await settled()) >= passes + ALLOCATIONS);
  return quietSince - asked.at;
}

/** Its metrics are rendered once a second: when it has done its work is seen by the time that it runs, which is counted in 10 ms. */
async function untilQuiet(agent: Bench['agent']): Promise<number> {
  let [ran, since] = [agent.cpuSeconds(), performance.now()];
  while (performance.now() - since < QUIET_MS) {
    await setTimeout(5);
    const now = agent.cpuSeconds();
    if (now - ran >= IDLE_SECONDS) [ran, since] = [now, performance.now()];
  }
  return since;
}

/** The agent says in its log when it did a step, to the millisecond. */
async function firstStepsOf(bench: Bench, newcomers: readonly PreparedAllocation[]): Promise<number[]> {
  await until('the queue is empty', async () => (await bench.metric('nomad_rootless_queue_depth')) === 0);
  const over = new AbortController();
  const coming = keepComing(bench, over.signal);
  const announced = new Map<string, number>();
  for (const allocation of newcomers) {
    announced.set(allocation.id, Date.now());
    allocation.announce();
    await setTimeout(APART_MS);
  }
  const all = ALLOCATIONS + newcomers.length;
  await until('the new ones are ready', async () => (await bench.ready()) === all);
  over.abort();
  await coming;
  const steps = bench.agent.log().filter((line) => line['kind'] !== undefined);
  return [...announced].map(([id, at]) => {
    const first = steps.find((line) => line['allocation'] === id);
    if (!first) throw new Error(`the agent's log has no step for ${id}`);
    return Date.parse(String(first['time'])) - at;
  });
}
