import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { lockStateDir } from '../../../src/linux/state-lock.ts';

let directory: string;
let stateDir: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'state-lock-'));
  stateDir = join(directory, 'made', 'state');
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Another process that has the lock. */
async function holder(): Promise<ChildProcess> {
  const program = `import { lockStateDir } from ${JSON.stringify(import.meta.resolve('../../../src/linux/state-lock.ts'))};
    lockStateDir(${JSON.stringify(stateDir)}); console.log('locked'); setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return child;
}

test('a state dir is made for root alone, and is one agent`s until it is let go', () => {
  const first = lockStateDir(stateDir);
  expect(statSync(stateDir).mode & 0o777).toBe(0o700);
  expect(() => lockStateDir(stateDir)).toThrow(expect.objectContaining({ code: 'state_dir_in_use' }));
  first[Symbol.dispose]();
  lockStateDir(stateDir)[Symbol.dispose]();
});

test('who has it is named, and a killed one has it no longer', async () => {
  const child = await holder();
  expect(() => lockStateDir(stateDir)).toThrow(
    expect.objectContaining({
      message: expect.stringContaining(`${stateDir} is in use by process ${child.pid}, another`),
    }),
  );
  child.kill('SIGKILL');
  await once(child, 'exit');
  using _lock = lockStateDir(stateDir);
  expect(readFileSync(join(stateDir, 'lock'), 'utf8')).toBe(`${process.pid}\n`);
});

test('no link leads root elsewhere with it', () => {
  lockStateDir(stateDir)[Symbol.dispose]();
  const precious = join(directory, 'precious');
  writeFileSync(precious, 'precious');
  rmSync(join(stateDir, 'lock'));
  symlinkSync(precious, join(stateDir, 'lock'));
  expect(() => lockStateDir(stateDir)).toThrow(/ELOOP/);
  expect(readFileSync(precious, 'utf8')).toBe('precious');
});
