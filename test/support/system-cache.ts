import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Makes what a cache does not have yet of a machine's system.
 * @param script a build-system.sh, which is given the cache's path
 * @returns whether all is there
 */
export async function buildSystem(script: string, cache: string, signal: AbortSignal): Promise<boolean> {
  const stdio = ['ignore', 'inherit', 'inherit'] as const;
  const child = spawn('sh', [script, cache], { stdio: [...stdio], signal, killSignal: 'SIGKILL' });
  const [code] = await once(child, 'exit').catch(() => [1]);
  if (signal.aborted) rmSync(join(cache, 'building'), { recursive: true, force: true, maxRetries: 5 });
  return code === 0;
}

/** Makes a directory for this run, and removes those of runs that were killed. */
export function makeRunDirectory(cache: string): string {
  for (const name of readdirSync(cache)) {
    const pid = /^run-(\d+)$/.exec(name)?.[1];
    if (pid === undefined || (pid !== String(process.pid) && existsSync(`/proc/${pid}`))) continue;
    rmSync(join(cache, name), { recursive: true });
  }
  const directory = join(cache, `run-${process.pid}`);
  mkdirSync(directory);
  return directory;
}

/** Aborted after so many minutes, and by the signals that end a program. */
export function stopSwitch(limitMinutes: number): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () => controller.abort(new Error(`stopped by ${name}`)));
  }
  return AbortSignal.any([controller.signal, AbortSignal.timeout(limitMinutes * 60_000)]);
}
