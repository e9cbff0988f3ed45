/**
 * `npm run test:vm`: boots Debian 12's kernel, Linux 6.1, in an emulated machine with this project inside, runs there what
 * parts.ts says, and ends with a line of counts. Needs root on Debian or Ubuntu on x86_64, no KVM; the network only the
 * first time. `--cache <directory>` says where the machine's system is kept; `demo`, or filters for vitest, run in place
 * of all. TEST_TIME_SCALE says how many times longer than usual everything may take there.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildSystem, makeRunDirectory, stopSwitch } from '../system-cache.ts';
import { Counts } from './counts.ts';
import { runMachine } from './machine.ts';
import { missingFiles, type Part, partsOf, shellScript, withoutFiles } from './parts.ts';
import { makeProjectDisk } from './project-disk.ts';

const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));
const BUILD_SYSTEM = fileURLToPath(new URL('./build-system.sh', import.meta.url));
const DEFAULT_CACHE = join(process.env.XDG_CACHE_HOME || '/var/cache', 'nomad-rootless-vm');
const LIMIT_MINUTES = 120;
const TIME_SCALE = '10';
const KERNEL_LINES = 25;

process.exitCode = await main();

async function main(): Promise<number> {
  if (process.getuid?.() !== 0) return refuse('test:vm needs root: it installs Debian 12 into a directory');
  if (process.arch !== 'x64')
    return refuse('test:vm needs x86_64, for which the npm packages are that the machine gets');
  const { values, positionals } = parseArgs({ options: { cache: { type: 'string' } }, allowPositionals: true });
  const cache = resolve(values.cache ?? DEFAULT_CACHE);
  const wanted = partsOf(positionals);
  const missing = missingFiles(wanted, PROJECT);
  for (const file of missing) console.log(`skipped: ${file}, which is not there`);

  const parts = withoutFiles(wanted, missing);
  const counts = new Counts(parts);
  counts.skipped += missing.length;
  if (parts.length > 0 && !(await emulate(parts, counts, cache))) return 1;
  console.log(counts.toString());
  return counts.failed === 0 ? 0 : 1;
}

/** @returns whether it got as far as running the machine */
async function emulate(parts: readonly Part[], counts: Counts, cache: string): Promise<boolean> {
  const stop = stopSwitch(LIMIT_MINUTES);
  if (!(await buildSystem(BUILD_SYSTEM, cache, stop))) {
    say('could not make the system of the machine');
    return false;
  }
  const directory = makeRunDirectory(cache);
  try {
    await run(parts, counts, { cache, directory, stop });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return true;
}

async function run(
  parts: readonly Part[],
  counts: Counts,
  { cache, directory, stop }: { cache: string; directory: string; stop: AbortSignal },
): Promise<void> {
  say('copying the project to a disk');
  const environment = { TEST_TIME_SCALE: process.env.TEST_TIME_SCALE ?? TIME_SCALE, NO_COLOR: '1' };
  const projectDisk = await makeProjectDisk(PROJECT, shellScript(parts, PROJECT, environment), directory);
  say(`booting the machine; it is slow, and is ended after ${LIMIT_MINUTES} minutes`);
  const start = performance.now();
  const onLine = (line: string) => {
    counts.read(line);
    console.log(line);
  };
  const problem = await runMachine({ cache, projectDisk, directory, onLine, signal: stop });
  say(`the machine ran for ${Math.round((performance.now() - start) / 1000)} s`);
  const unfinished = counts.end();
  if (problem === '' && unfinished.length === 0) return;
  const log = join(directory, 'kernel.log');
  const kernel = existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n').slice(-KERNEL_LINES) : [];
  for (const line of kernel) say(`kernel: ${line.trimEnd()}`);
  if (problem !== '') say(problem);
  for (const name of unfinished) say(`did not end: ${name}`);
}

function say(what: string): void {
  console.log(`test:vm: ${what}`);
}

function refuse(message: string): number {
  console.error(message);
  return 1;
}
