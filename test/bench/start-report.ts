import { renderTable } from '../../src/cli/table.ts';
import type { Goal } from './goal.ts';
import type { Summary } from './samples.ts';
import type { StartResults } from './start.ts';

const METHOD = `Starting: Node.js with an empty file, the built program's --version and the built agent are started in turn. The agent counts
from exec until its gate takes a connection. Idle: resident memory 5 s after the agent was attached to Nomad, with nothing to do,
beside Node.js with a timer; most of it is Node.js's own file, which all its processes share.`;

/** The results as tables. */
export function toText({ node, version, gate, idle }: StartResults): string {
  const row = (what: string, { count, p50, p99 }: Summary) => [
    what,
    String(count),
    p50.toFixed(1),
    p99.toFixed(1),
    (p50 / node.p50).toFixed(2),
  ];
  const times = renderTable(
    ['STARTING', 'n', 'p50 ms', 'p99 ms', '/Node.js p50'],
    [row('Node.js alone', node), row('--version', version), row('the agent, to its gate', gate)],
  );
  const memory = renderTable(
    ['IDLE', 'MiB', '/Node.js'],
    [
      ['Node.js alone', idle.node.toFixed(1), '1.00'],
      ['the agent', idle.agent.toFixed(1), (idle.agent / idle.node).toFixed(2)],
    ],
  );
  return `${METHOD}\n\n${times}\n${memory}`.trimEnd();
}

/** What is to be reached, and what was. */
export function goalsOf({ node, version, gate, idle }: StartResults): Goal[] {
  const times = 'times';
  return [
    { what: '--version, against Node.js alone', unit: times, measured: version.p50 / node.p50, most: 3 },
    { what: 'agent from exec to its gate, against Node.js alone', unit: times, measured: gate.p50 / node.p50, most: 5 },
    { what: "idle agent's RSS, against Node.js alone", unit: times, measured: idle.agent / idle.node, most: 2 },
  ];
}
