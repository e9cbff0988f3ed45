import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { TIME_SCALE } from './time-scale.ts';

/** What does not hang has come back long before, on a busy machine too. */
const HANG_MS = 30_000;

/**
 * Runs code of the agent's in a process of its own, and says whether it came back: what it has printed, or where in the
 * kernel it hangs.
 * @param heard called for what it prints, with all of it so far
 */
export async function outcomeOf(code: string, heard: (text: string) => void = () => undefined): Promise<string> {
  const argv = ['--input-type=module', '-e', `${code}\nconsole.log('came back'); process.exit();`];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
    heard(text);
  });
  const ended = once(child, 'close').then(() => true);
  if (await Promise.race([ended, pause(HANG_MS * TIME_SCALE, false)])) return text.trim();
  const where = readFileSync(`/proc/${child.pid}/wchan`, 'utf8');
  child.kill('SIGKILL');
  const killed = await Promise.race([ended, pause(1000, false)]);
  return `hangs in ${where}${killed ? '' : ', and SIGKILL does not end it'}`;
}

/** What such code imports a file of src by: a string literal. */
export function source(path: string): string {
  return JSON.stringify(fileURLToPath(new URL(`../../src/${path}`, import.meta.url)));
}
