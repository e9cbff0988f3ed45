import { renderTable } from '../../src/cli/table.ts';
import type { EventCourse, EventStreamResults } from './event-stream.ts';
import type { Goal } from './goal.ts';
import type { ManyAllocationsResults } from './many-allocations.ts';
import type { ShownResults } from './shown.ts';

/** What was measured of a big cluster and of a full node. */
export interface ScaleResults {
  readonly events: EventStreamResults;
  readonly node: ManyAllocationsResults;
  readonly shown: ShownResults;
}

const METHOD = `Events of other nodes: the recorded allocation updates with other ids, as if of 10,000 nodes, sent by the stand-in's API
over the loopback; one in 10,000 is of this node, and each course ends when the agent has asked for that last one. CPU is
the agent's, user and system, by /proc/PID/stat. Nomad's servers write the updates of 50 ms as one line; a line for each
event is what would be if they did not. The first half million events, before the million, warm up. A full node: 1,000
allocations of one user with real directories and mounts, their views in her Podman's mount namespace. A resync counts
from the agent's request for the listing, the stand-in's answer included, until each allocation was read, observed and
found settled. A first step counts from the writing of a new allocation's event, while 2,000 events a second of other
nodes come, until the agent's log says that the step was done; the allocation's directory is there before.`;

/** The results as tables. */
export function toText({ events, node, shown }: ScaleResults): string {
  const courses = renderTable(
    ['EVENTS OF OTHER NODES', 'n', 'events/s', 'CPU ms per 1,000', 'CPU share'],
    [
      courseRow('2,000 a second, lines as Nomad writes them', events.batched),
      courseRow('2,000 a second, a line for each', events.single),
      courseRow('as fast as they are taken, a line for each', events.flood),
    ],
  );
  const memory = renderTable(
    ["AGENT'S MEMORY", 'MiB'],
    [
      ['RSS before a million events', mib(events.memory.before)],
      ['RSS after them', mib(events.memory.after)],
      ['largest RSS', mib(events.memory.peak)],
      [`RSS with ${node.allocations} allocations prepared`, mib(node.memory)],
    ],
  );
  const times = renderTable(
    ['A FULL NODE', 'n', 'p50 ms', 'p99 ms'],
    [
      [`resync of ${node.allocations} settled allocations`, String(node.resync.count), ...percentiles(node.resync)],
      ['event of a new allocation to its first step', String(node.firstStep.count), ...percentiles(node.firstStep)],
    ],
  );
  const { before, after } = shown.mounts;
  const each = (after.podman - before.podman) / shown.allocations;
  const starts = renderTable(
    ['A USER WHO IS SHOWN MANY ALLOCATIONS', 'n', 'p50 ms', 'p99 ms'],
    [
      ['start of a container with one', String(shown.startWithOne.count), ...percentiles(shown.startWithOne)],
      [`with ${shown.allocations} running`, String(shown.startWithAll.count), ...percentiles(shown.startWithAll)],
      [
        `with ${shown.allocations} that are created`,
        String(shown.startWithAllShown.count),
        ...percentiles(shown.startWithAllShown),
      ],
      ["reading the mount table of the user's Podman", '', ...percentiles(shown.reading.podman)],
      ["reading the host's", '', ...percentiles(shown.reading.host)],
    ],
  );
  const mounts = renderTable(
    ['MOUNTS', 'before', `${shown.allocations} shown`, 'each'],
    [
      ["in the namespace of the user's Podman", String(before.podman), String(after.podman), each.toFixed(1)],
      ["in the host's", String(before.host), String(after.host), ''],
    ],
  );
  const about = `events of ${(events.eventBytes / 1000).toFixed(1)} kB on average`;
  return `${about}\n\n${METHOD}\n\n${courses}\n${memory}\n${times}\n${starts}\n${mounts}`.trimEnd();
}

/** What is to be reached, and what was. */
export function goalsOf({ events, node, shown }: ScaleResults): Goal[] {
  const growth = events.memory.after - events.memory.before;
  return [
    {
      what: 'CPU for an event of another node, as Nomad writes them',
      unit: 'µs',
      measured: events.batched.cpu,
      most: 10,
    },
    { what: 'CPU for an event of another node, in a million', unit: 'µs', measured: events.flood.cpu, most: 10 },
    { what: 'growth of RSS over a million events', unit: 'MiB', measured: growth, most: GROWTH_IN_NOISE },
    { what: `resync of ${node.allocations} settled allocations`, unit: 'ms', measured: node.resync.p50, most: 1000 },
    {
      what: `start with ${shown.allocations} allocations running, against one`,
      unit: 'times',
      measured: shown.startWithAll.p50 / shown.startWithOne.p50,
      most: 1.2,
    },
    { what: 'event to first step, median', unit: 'ms', measured: node.firstStep.p50, most: 20 },
  ];
}

/** What the memory of a process that does the same all the time goes up and down by, in MiB. */
const GROWTH_IN_NOISE = 16;

function courseRow(what: string, { events, cpu, seconds }: EventCourse): string[] {
  const rate = events / seconds;
  return [what, String(events), rate.toFixed(0), cpu.toFixed(2), `${((rate * cpu) / 1e4).toFixed(1)} %`];
}

function percentiles({ p50, p99 }: { readonly p50: number; readonly p99: number }): string[] {
  return [p50.toFixed(1), p99.toFixed(1)];
}

function mib(mebibytes: number): string {
  return mebibytes.toFixed(1);
}
