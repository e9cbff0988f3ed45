import { renderTable } from '../../src/cli/table.ts';
import * as gate from './gate-report.ts';
import type { Goal } from './goal.ts';
import type { MigrationResults } from './migrations.ts';
import type { BenchResults, WaysResults } from './results.ts';
import type { Comparison, Summary } from './samples.ts';
import * as scale from './scale-report.ts';
import * as start from './start-report.ts';

const METHOD = `Each call is made on the socket of the user's Podman and through the gate in turn, on a kept connection each, and timed
by the client from the call to the end of the response; what the gate adds is the difference. The two creates that are
only decoded are the driver's with one field of a wrong type: the gate treats them alike and Podman makes nothing of
them, so that the noise of a whole create does not hide what is looked for. Ready: prepared before. Cold: the agent
hears of the allocation by the create, asks Nomad, sets the ACL and mounts the view. The agent is the built one. The
first tenth of each row's calls warms up and is not counted.

Handing over: the netns of an allocation that CNI plugins have made (bridge, IPv4 and IPv6) is replaced by one of the user's
Podman, by the agent's own code and by a shell script of nsenter, ip and mount, beside the bare move of the veth, in which the
kernel waits with the lock of all networks held: moves do not overlap, however many are asked for.`;

/** The results as tables: what was measured, and the goals beside it. */
export function toText(results: BenchResults): string {
  const { create, ready, cold, stats, ping, memory } = results;
  const measured = renderTable(
    ['CALL', 'n', 'DIRECT p50', 'p99', 'GATE p50', 'p99', 'ADDED p50', 'p99', 'GATE/DIRECT p50', 'ADDED/CREATE p50'],
    [
      row('create', create, create.direct),
      row('create, decoded only, ready', ready, create.direct),
      row('create, decoded only, cold', cold, create.direct),
      row('stats', stats, undefined),
      row('ping', ping, undefined),
    ],
  );
  const resident = renderTable(
    ["AGENT'S MEMORY", 'MiB'],
    [
      [`RSS with ${results.allocations} allocations prepared`, mib(memory.prepared)],
      ['RSS at the end', mib(memory.end)],
      ['largest RSS', mib(memory.peak)],
    ],
  );
  const handed = renderTable(['NETNS', 'n', 'p50', 'p99', '/CNI ADD p50'], migrationRows(results.migrations));
  const started = start.toText(results.start);
  const scaled = scale.toText(results.scale);
  const ways = gate.toText(results.ways);
  const tables = `${measured}\n${ways}\n\n${handed}\n${resident}\n${started}\n\n${scaled}`;
  return `${about(results)}\n\n${METHOD}\n\n${tables}\n\n${goalTable(goalsOf(results))}`.trimEnd();
}

/** The results of the ways to a Podman alone, as tables. */
export function waysToText(results: WaysResults): string {
  const goals = goalTable(gate.goalsOf(results.ways));
  return `${about(results)}\n\n${gate.toText(results.ways)}\n\n${goals}`.trimEnd();
}

function about({ machine: { podman, node, kernel, cpus } }: WaysResults): string {
  return `podman ${podman}, node ${node}, Linux ${kernel}, ${cpus} CPUs; times in ms`;
}

function goalTable(goals: readonly Goal[]): string {
  return renderTable(
    ['GOAL', 'AT MOST', 'MEASURED', ''],
    goals.map(({ what, unit, most, measured: got }) => {
      const text = unit === 'MiB' ? mib(got) : ms(got);
      return [what, `${most} ${unit}`, `${text} ${unit}`, got <= most ? 'reached' : 'missed'];
    }),
  );
}

/** The results as JSON, the goals with them. */
export function toJson(results: BenchResults): string {
  return withGoals(results, goalsOf(results));
}

/** The results of the ways to a Podman alone, as JSON. */
export function waysToJson(results: WaysResults): string {
  return withGoals(results, gate.goalsOf(results.ways));
}

function withGoals(results: WaysResults, goals: readonly Goal[]): string {
  return JSON.stringify(
    { ...results, goals: goals.map((one) => ({ ...one, reached: one.measured <= one.most })) },
    null,
    2,
  );
}

function goalsOf({
  ready,
  cold,
  stats,
  memory,
  allocations,
  migrations,
  ways,
  start: started,
  scale: scaled,
}: BenchResults): Goal[] {
  return [
    { what: 'added to a create, allocation ready, median', unit: 'ms', measured: added(ready, 'p50'), most: 2 },
    { what: 'added to a create, allocation cold, median', unit: 'ms', measured: added(cold, 'p50'), most: 10 },
    { what: 'added to stats, p99', unit: 'ms', measured: added(stats, 'p99'), most: 1 },
    ...gate.goalsOf(ways),
    {
      what: 'handing over a netns, against the bare move, median',
      unit: 'times',
      measured: migrations.migration.p50 / migrations.move.p50,
      most: 1.5,
    },
    {
      what: 'handing over a netns, against the same by shell',
      unit: 'times',
      measured: migrations.migration.p50 / migrations.shell.p50,
      most: 0.6,
    },
    {
      what: `${migrations.atOnce.count} handed over at once, against ${migrations.atOnce.count} bare moves at once`,
      unit: 'times',
      measured: migrations.atOnce.migrations / migrations.atOnce.moves,
      most: 1.5,
    },
    {
      what: 'left of it when the create comes, against the bare move, median',
      unit: 'times',
      measured: migrations.left.p50 / migrations.move.p50,
      most: 0.5,
    },
    { what: `agent's RSS with ${allocations} allocations`, unit: 'MiB', measured: memory.prepared, most: 120 },
    ...start.goalsOf(started),
    ...scale.goalsOf(scaled),
  ];
}

function row(what: string, comparison: Comparison, create: Summary | undefined): string[] {
  const { direct, gate: through } = comparison;
  const more = added(comparison, 'p50');
  return [
    what,
    String(through.count),
    ...[direct.p50, direct.p99, through.p50, through.p99, more, added(comparison, 'p99')].map(ms),
    (through.p50 / direct.p50).toFixed(2),
    create ? (more / create.p50).toFixed(2) : '',
  ];
}

function migrationRows({ cni, move, migration, left, shell, atOnce }: MigrationResults): string[][] {
  const row = (what: string, { count, p50, p99 }: Summary) => [
    what,
    String(count),
    ms(p50),
    ms(p99),
    (p50 / cni.p50).toFixed(2),
  ];
  const once = (what: string, duration: number) => [what, '1', ms(duration), '', (duration / cni.p50).toFixed(2)];
  return [
    row('CNI ADD', cni),
    row('bare move of the veth', move),
    row('handed over', migration),
    row('left of it when the create comes', left),
    row('handed over by shell', shell),
    once(`${atOnce.count} bare moves at once`, atOnce.moves),
    once(`${atOnce.count} handed over at once`, atOnce.migrations),
  ];
}

function added({ direct, gate: through }: Comparison, percentile: 'p50' | 'p99'): number {
  return through[percentile] - direct[percentile];
}

function ms(milliseconds: number): string {
  return milliseconds.toFixed(2);
}

function mib(mebibytes: number): string {
  return mebibytes.toFixed(1);
}
