/**
 * `npm run test:systemd`: runs the cases of test/systemd, each file of which boots Debian 13's own systemd, and ends with a
 * line of counts. Needs root on Debian or Ubuntu; the network only the first time. `--cache <directory>` says where the
 * machines' system is kept; anything else is for vitest. A real Nomad is used where it is on the PATH with
 * NOMAD_PLUGIN_DIR, else the stand-in.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSystem, makeRunDirectory, stopSwitch } from '../system-cache.ts';
import { buildBundles } from './bundles.ts';
import { partsOf, RUN_VARIABLE } from './run-parts.ts';

const RUN_TESTS = fileURLToPath(new URL('../run-tests.ts', import.meta.url));
const BUILD_SYSTEM = fileURLToPath(new URL('./build-system.sh', import.meta.url));
const DEFAULT_CACHE = join(process.env.XDG_CACHE_HOME || '/var/cache', 'nomad-rootless-systemd');
const LIMIT_MINUTES = 60;

process.exitCode = await main();

async function main(): Promise<number> {
  if (process.getuid?.() !== 0) {
    console.error('test:systemd needs root: it installs Debian 13 into a directory, and boots it');
    return 1;
  }
  const args = process.argv.slice(2);
  const at = args.indexOf('--cache');
  const [, cache = DEFAULT_CACHE] = at === -1 ? [] : args.splice(at, 2);
  const stop = stopSwitch(LIMIT_MINUTES);
  if (!(await buildSystem(BUILD_SYSTEM, resolve(cache), stop))) {
    console.log('test:systemd: could not make the system of the machines');
    return 1;
  }
  const directory = makeRunDirectory(resolve(cache));
  try {
    await buildBundles(partsOf(directory).bundles);
    return await runTests(directory, args, stop);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** @returns the exit code */
async function runTests(directory: string, filters: readonly string[], signal: AbortSignal): Promise<number> {
  const child = spawn(process.execPath, [RUN_TESTS, '--systemd', ...filters], {
    stdio: 'inherit',
    env: { ...process.env, [RUN_VARIABLE]: directory },
    signal,
    killSignal: 'SIGKILL',
  });
  const [code] = await once(child, 'exit').catch(() => [1]);
  return code ?? 1;
}
