import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { source } from '../../support/agent-code.ts';
import { requires } from '../../support/requires.ts';

/** Runs code that gives a promise in a process that has not one descriptor left, and says what it came to, and whether that process lived. */
async function outcomeWithoutDescriptors(imports: string, promise: string): Promise<string> {
  const code = `${imports}
    const { openSync, closeSync } = await import('node:fs');
    const { isRetryable } = await import(${source('errors.ts')});
    const { setTimeout: pause } = await import('node:timers/promises');
    const last = [];
    try { for (;;) last.push(openSync('/dev/null')); } catch {}
    const outcome = await ${promise}.then(() => 'done', (error) => (isRetryable(error) ? 'to be tried again' : error));
    await pause(100);
    for (const fd of last) closeSync(fd);
    console.log(outcome, await ${promise}.then(() => 'done', (error) => error));
    process.exit();`;
  const argv = ['--nofile=64:64', process.execPath, '--input-type=module', '-e', code];
  const child = spawn('prlimit', argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [said] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  return said.trim();
}

requires('root')('want of descriptors', () => {
  test('keeps no network namespace from being made later, and ends nobody', async () => {
    const imports = `const { makeFreshNetworkNamespace } = await import(${source('linux/net/make-fresh-network-namespace.ts')});`;
    expect(await outcomeWithoutDescriptors(imports, 'makeFreshNetworkNamespace()')).toBe('to be tried again done');
  });
});

test.each([
  [
    'the configuration of a user from being read',
    `const { readConfAsUser } = await import(${source('linux/read-as-user.ts')});`,
    `readConfAsUser({ uid: process.getuid(), gid: process.getgid() }, ['/etc'])`,
  ],
  [
    'an account from being looked up',
    `const { lookUpAccount } = await import(${source('linux/passwd.ts')});`,
    `lookUpAccount('root', new AbortController().signal)`,
  ],
  [
    'a listener from being asked for',
    `const { listenerOf } = await import(${source('linux/unix-peer.ts')});`,
    `listenerOf('/run/no.sock')`,
  ],
])('want of descriptors keeps %s no longer than it lasts, and ends nobody', async (_, imports, promise) => {
  expect(await outcomeWithoutDescriptors(imports, promise)).toBe('to be tried again done');
});
