import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { newAllocation } from '../support/nomad/job.ts';
import { until } from '../support/until.ts';
import type { Bench } from './bench.ts';
import { ForeignEvents } from './foreign-events.ts';

/** How a course of foreign events went. */
export interface EventCourse {
  readonly events: number;
  /** Of the agent, for each event, in microseconds. */
  readonly cpu: number;
  /** From the first event to the last, in seconds. */
  readonly seconds: number;
}

/** What the events of other nodes cost. */
export interface EventStreamResults {
  /** The mean size of an event, in bytes. */
  readonly eventBytes: number;
  /** As Nomad sends them: the updates of 50 ms in one line. */
  readonly batched: EventCourse;
  /** The same rate with a line for each. */
  readonly single: EventCourse;
  /** A line for each, as fast as the agent takes them. */
  readonly flood: EventCourse;
  /** Resident memory in MiB: before the flood, after it, and the most it ever was. */
  readonly memory: { readonly before: number; readonly after: number; readonly peak: number };
}

const RATE = 2000;
/** For how long Nomad's servers collect the updates of clients (batchUpdateInterval in its nomad/node_endpoint.go). */
const BATCH_MS = 50;
const PACED_SECONDS = 20;
const FLOOD = 1_000_000;
const LINES_AT_ONCE = 200;
/** One event in so many is about this node. */
const OWN_EVERY = 10_000;

/** Measures what the events of other nodes cost; one in 10,000 is of this one. */
export async function measureEventStream(bench: Bench): Promise<EventStreamResults> {
  const foreign = new ForeignEvents(() => bench.nomad.skipIndex());
  const own = new OwnAllocation(bench);
  const course = async (events: number, send: () => Promise<void>): Promise<EventCourse> => {
    const cpu = bench.agent.cpuSeconds();
    const started = performance.now();
    await send();
    await own.changeAndWait();
    const seconds = (performance.now() - started) / 1000;
    return { events, cpu: ((bench.agent.cpuSeconds() - cpu) / events) * 1e6, seconds };
  };
  const flood = (events: number) =>
    course(events, async () => {
      for (let sent = 0; sent < events; sent += LINES_AT_ONCE) {
        if (sent % OWN_EVERY === 0) own.change();
        await bench.nomad.api.feed(Buffer.concat(Array.from({ length: LINES_AT_ONCE }, () => foreign.line(1))));
      }
    });
  const paced = (everyMs: number, size: number) =>
    course(RATE * PACED_SECONDS, async () => {
      const started = performance.now();
      for (let sent = 0; sent < RATE * PACED_SECONDS; await setTimeout(1)) {
        for (const due = ((performance.now() - started) / everyMs) * size; sent < due; sent += size) {
          if (sent % OWN_EVERY === 0) own.change();
          await bench.nomad.api.feed(foreign.line(size));
        }
      }
    });

  await flood(FLOOD / 2);
  const before = bench.agent.memory('VmRSS');
  const flooded = await flood(FLOOD);
  const after = bench.agent.memory('VmRSS');
  const batched = await paced(BATCH_MS, (RATE * BATCH_MS) / 1000);
  const single = await paced(1000 / RATE, 1);
  const peak = bench.agent.memory('VmHWM');
  return { eventBytes: foreign.meanBytes, batched, single, flood: flooded, memory: { before, after, peak } };
}

/** Keeps foreign events coming at the rate of a big cluster, as Nomad sends them, until the signal is aborted. */
export async function keepComing({ nomad }: Bench, signal: AbortSignal): Promise<void> {
  const foreign = new ForeignEvents(() => nomad.skipIndex());
  while (!signal.aborted) {
    await nomad.api.feed(foreign.line((RATE * BATCH_MS) / 1000));
    await setTimeout(BATCH_MS);
  }
}

/** An allocation of this node that names no user: each change of it is read and left alone. */
class OwnAllocation {
  readonly #id = randomUUID();
  readonly #nomad: Bench['nomad'];

  constructor({ nomad }: Bench) {
    this.#nomad = nomad;
  }

  change(): void {
    const job = { id: 'own', tasks: [{ name: 'main' }] };
    const placement = { nodeId: this.#nomad.nodeId, ports: [], now: Date.now() * 1e6 };
    this.#nomad.announce(newAllocation(this.#id, job, placement), 'AllocationUpdated');
  }

  /** Changes it behind all that was sent, and waits until the agent has asked for it. */
  async changeAndWait(): Promise<void> {
    const from = this.#nomad.api.requests.length;
    const isAsked = () => this.#nomad.api.requests.slice(from).some(({ path }) => path.endsWith(this.#id));
    this.change();
    await until('the agent has come to the last event', isAsked, 120_000);
  }
}
