import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { TIME_SCALE } from './time-scale.ts';

const HANG_MS = 6000;

/**
 * Runs code of the agent's in a process of its own, and says whether it came back: what it has printed, or where in the
 * kernel it hangs.
 */
export async function outcomeOf(code: string, withinMs = HANG_MS): Promise<string> {
  const argv = ['--input-type=module', '-e', `${code}\nconsole.log('came back'); process.exit();`];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  const ended = once(child, 'close').then(() => true);
  if (await Promise.race([ended, pause(withinMs * TIME_SCALE, false)])) return text.trim();
  const where = readFileSync(`/proc/${child.pid}/wchan`, 'utf8');
  child.kill('SIGKILL');
  const killed = await Promise.race([ended, pause(1000, false)]);
  return `hangs in ${where}${killed ? '' : ', and SIGKILL does not end it'}`;
}

/** What such code imports a file of src by: a string literal. */
export function source(path: string): string {
  return JSON.stringify(fileURLToPath(new URL(`../../src/${path}`, import.meta.url)));
}
