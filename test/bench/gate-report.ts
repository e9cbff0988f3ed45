import { renderTable } from '../../src/cli/table.ts';
import type { ConnectionResults, Way, Ways } from './connections.ts';
import type { Goal } from './goal.ts';
import type { NeighbourResults } from './neighbour.ts';
import type { Summary } from './samples.ts';
import type { SlowNeighbourResults } from './slow-neighbour.ts';

/** What was measured of the ways to a Podman. */
export interface GateResults {
  readonly connections: ConnectionResults;
  readonly neighbour: NeighbourResults;
  readonly slowNeighbour: SlowNeighbourResults;
}

const METHOD = `A connection for each request: the same small request (a list of no containers) is sent each way in turn, one after the other, and timed by the
client from connecting to the end of the answer; before a Podman that answers at once nothing hides what stands between. CPU is of
what stands between alone, user and system. haproxy is Debian's, with nothing but its defaults, a socket and a server.
A neighbour: bob's requests one after the other through his gate, a connection each, in turns with alice's Podman left alone, and
with it stopped in the middle (it takes connections and never answers) while her gate is asked what the driver asks, 100 times a
second, up to 200 requests waiting. Creates of bob's, each of a new allocation, and Podman does nothing for them: alone, and while
eighty creates of alice's are held at her gate, her own program listens in place of her Podman, and each look at it is stopped.`;

/** The results as tables. */
export function toText({ connections, neighbour, slowNeighbour }: GateResults): string {
  const { podman, instant } = connections;
  const ways = renderTable(
    ['A CONNECTION FOR EACH REQUEST', 'n', 'p50 ms', 'p99 ms', '/direct p50', 'CPU ms per 1,000'],
    [...rows('Podman', podman), ...rows('answering at once', instant)],
  );
  const { hanging } = neighbour;
  const { slow } = slowNeighbour;
  const beside = renderTable(
    ["BOB'S REQUESTS", 'n', 'p50 ms', 'p99 ms', '/alone p50', '/alone p99'],
    [
      besideRow('alone', neighbour.quiet, neighbour.quiet),
      besideRow('with alice hanging', hanging, neighbour.quiet),
      besideRow('creates, alone', slowNeighbour.quiet, slowNeighbour.quiet),
      besideRow("creates, with alice's looks slow", slow, slowNeighbour.quiet),
    ],
  );
  const missing = instant.haproxyTcp ? '' : '\nhaproxy is not on this machine (package haproxy), and was left out';
  return `${METHOD}\n\n${ways}${missing}\n${beside}`.trimEnd();
}

/** What is to be reached, and what was. */
export function goalsOf({ connections, neighbour, slowNeighbour }: GateResults): Goal[] {
  const { podman, instant } = connections;
  const times = 'times';
  const beside =
    instant.haproxyHttp &&
    ({
      what: 'a request through the gate, against haproxy, p50',
      unit: times,
      measured: instant.gate.p50 / instant.haproxyHttp.p50,
      most: 2,
    } as const);
  return [
    {
      what: 'a request through the gate, against a connection kept to Podman, p50',
      unit: times,
      measured: podman.gate.p50 / podman.kept.p50,
      most: 2,
    },
    ...(beside ? [beside] : []),
    {
      what: "bob's p99 with alice hanging, against alone",
      unit: times,
      measured: neighbour.hanging.p99 / neighbour.quiet.p99,
      most: 1.2,
    },
    {
      what: "bob's creates with alice's looks slow, against alone, p50",
      unit: times,
      measured: slowNeighbour.slow.p50 / slowNeighbour.quiet.p50,
      most: 1.5,
    },
  ];
}

function besideRow(what: string, { count, p50, p99 }: Summary, alone: Summary): string[] {
  return [what, String(count), ms(p50), ms(p99), ratio(p50, alone.p50), ratio(p99, alone.p99)];
}

function rows(before: string, ways: Ways): string[][] {
  const { kept, direct, gate, haproxyTcp, haproxyHttp } = ways;
  const row = (what: string, way: Way | undefined) =>
    way
      ? [
          [
            `${before}: ${what}`,
            String(way.count),
            ms(way.p50),
            ms(way.p99),
            ratio(way.p50, direct.p50),
            way.cpu?.toFixed(0) ?? '',
          ],
        ]
      : [];
  return [
    ...row('kept connection', kept),
    ...row('direct', direct),
    ...row('the gate', gate),
    ...row('haproxy, mode tcp', haproxyTcp),
    ...row('haproxy, mode http', haproxyHttp),
  ];
}

function ms(milliseconds: number): string {
  return milliseconds.toFixed(2);
}

function ratio(value: number, of: number): string {
  return (value / of).toFixed(2);
}
