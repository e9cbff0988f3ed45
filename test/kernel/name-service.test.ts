import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { Accounts } from '../../src/reconcile/accounts.ts';
import { requires } from '../support/requires.ts';
import { silent } from '../support/silent-log.ts';
import { until } from '../support/until.ts';

const GETENT = '/usr/bin/getent';

requires('root', 'sandbox')('a name service that does not answer', () => {
  let directory: string;
  let accounts: Accounts;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'name-service-'));
    accounts = new Accounts({ clock: systemClock, log: silent });
  });
  afterEach(() => {
    accounts.close();
    rmSync(directory, { recursive: true });
  });

  /** Puts a shell script in the place of getent. */
  function replaceGetent(lines: string): void {
    const program = join(directory, 'name-service');
    writeFileSync(program, `#!/bin/sh\n${lines}\n`);
    chmodSync(program, 0o755);
    execFileSync('mount', ['--bind', program, GETENT]);
    onTestFinished(() => void execFileSync('umount', [GETENT]));
  }

  test('holds up nothing but its child, which is killed, and the account is found when it answers', async () => {
    const [answers, pids] = [join(directory, 'answers'), join(directory, 'pids')];
    replaceGetent(
      `[ -e ${answers} ] && exec echo alice:x:2001:2001::/home/alice:/bin/sh\necho $$ >>${pids}\nexec sleep 1000`,
    );
    const told: unknown[] = [];
    accounts.watch('alice', (account) => told.push(account?.uid));
    expect(accounts.get('alice')).toMatchObject({ kind: 'pending' });
    await until('it is given up', () => {
      const answer = accounts.get('alice');
      return answer.kind === 'pending' && answer.why.includes('timeout');
    });
    const [first] = readFileSync(pids, 'utf8').split('\n');
    await until('the child is gone', () => !existsSync(`/proc/${first}`));
    expect(accounts.get('alice')).toMatchObject({
      kind: 'pending',
      why: expect.stringContaining('getent passwd alice'),
    });
    writeFileSync(answers, '');
    await until('the account is there', () => told.length > 0);
    expect(told).toEqual([2001]);
  });

  test('takes nobody the account that was known, also where it fails or talks garbage', async () => {
    const says = join(directory, 'says');
    replaceGetent(`. ${says}`);
    writeFileSync(says, 'echo alice:x:2001:2001::/home/alice:/bin/sh');
    await until('the account is there', () => accounts.get('alice').kind === 'known');
    expect(accounts.known('alice')).toMatchObject({ uid: 2001 });
    for (const [name, answer] of Object.entries({ bob: 'exit 1', carol: 'echo garbage', dave: 'kill -9 $$' })) {
      writeFileSync(says, answer);
      await until(`the look-up of ${name} has failed`, () => {
        const answer = accounts.get(name);
        return answer.kind === 'pending' && answer.why.includes('getent');
      });
    }
    expect(accounts.get('alice')).toMatchObject({ kind: 'known' });
  });
});
