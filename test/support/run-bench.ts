/**
 * `npm run bench`: what the gate costs, and what a big cluster and a full node do, measured in one throwaway sandbox with
 * a real Podman. `--json` prints JSON in place of tables. Exit code 0 where it could measure, whether goals were reached or not.
 */

import { toJson, toText } from '../bench/report.ts';
import { runBench } from '../bench/run-bench.ts';
import { isInNamespaces, runInNamespaces } from './namespaces.ts';

const [, script = '', ...args] = process.argv;
process.exitCode = await main();

async function main(): Promise<number> {
  const unknown = args.find((arg) => arg !== '--json');
  if (unknown !== undefined) return refuse(`the bench knows --json, not ${unknown}`);
  if (process.getuid?.() !== 0) return refuse('the bench needs root: it makes users, mounts and namespaces of its own');
  if (!isInNamespaces()) return runInNamespaces([process.execPath, script, ...args]);
  const results = await runBench((what) => console.error(what));
  console.log(args.includes('--json') ? toJson(results) : toText(results));
  return 0;
}

function refuse(message: string): number {
  console.error(message);
  return 1;
}
