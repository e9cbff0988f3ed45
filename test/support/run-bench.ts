/**
 * `npm run bench`: what the gate costs, and what a big cluster and a full node do, measured in one throwaway sandbox with
 * a real Podman. `--json` prints JSON in place of tables; `--ways` measures the ways to a Podman alone. Exit code 0 where it could measure, whether goals were reached or not.
 */

import { toJson, toText, waysToJson, waysToText } from '../bench/report.ts';
import { runBench, runWaysBench } from '../bench/run-bench.ts';
import { isInNamespaces, runInNamespaces } from './namespaces.ts';

const [, script = '', ...args] = process.argv;
process.exitCode = await main();

async function main(): Promise<number> {
  const unknown = args.find((arg) => !['--json', '--ways'].includes(arg));
  if (unknown !== undefined) return refuse(`the bench knows --json and --ways, not ${unknown}`);
  if (process.getuid?.() !== 0) return refuse('the bench needs root: it makes users, mounts and namespaces of its own');
  if (!isInNamespaces()) return runInNamespaces([process.execPath, script, ...args]);
  const isJson = args.includes('--json');
  const say = (what: string) => console.error(what);
  if (args.includes('--ways')) {
    const results = await runWaysBench(say);
    console.log(isJson ? waysToJson(results) : waysToText(results));
  } else {
    const results = await runBench(say);
    console.log(isJson ? toJson(results) : toText(results));
  }
  return 0;
}

function refuse(message: string): number {
  console.error(message);
  return 1;
}
