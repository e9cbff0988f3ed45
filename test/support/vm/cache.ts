import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BUILD_SYSTEM = fileURLToPath(new URL('./build-system.sh', import.meta.url));

/** Makes what the cache does not have yet of the machine's kernel and system. @returns whether all is there */
export async function buildSystem(cache: string, signal: AbortSignal): Promise<boolean> {
  const stdio = ['ignore', 'inherit', 'inherit'] as const;
  const child = spawn('sh', [BUILD_SYSTEM, cache], { stdio: [...stdio], signal, killSignal: 'SIGKILL' });
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
