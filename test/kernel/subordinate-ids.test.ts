import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { askSubordinateIds } from '../../src/linux/subordinate-id-service.ts';
import { Accounts } from '../../src/reconcile/accounts.ts';
import { runCommand } from '../support/command.ts';
import { requires } from '../support/requires.ts';
import { Sandbox } from '../support/sandbox.ts';
import { silent } from '../support/silent-log.ts';
import { until } from '../support/until.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

requires('root', 'sandbox')('subordinate ids of users of the host', () => {
  let sandbox: Sandbox;
  beforeEach(() => {
    sandbox = new Sandbox();
    sandbox.addUser('alice');
    sandbox.addUser('dave', { subordinateIds: false });
  });
  afterEach(() => sandbox.dispose());

  function checkConfig() {
    const config = join(sandbox.directory, 'config.yaml');
    writeFileSync(config, 'users: {alice: {}, dave: {}, nobody-here: {}}\n');
    return runCommand([process.execPath, MAIN, 'check-config', '--config', config]);
  }

  test('are advised so that whoever follows the advice shares none, and shared ones are refused to both', async () => {
    const { code, stdout, stderr } = await checkConfig();
    expect(code).toBe(1);
    expect(stdout).toMatch(/^Warning: user nobody-here: account: there is none on this host$/m);
    const [, uids = '', gids] = /usermod --add-subuids (\S+) --add-subgids (\S+) dave/.exec(stderr) ?? [];
    expect(gids).toBe(uids);
    expect(stderr).not.toContain('alice');
    const before = readFileSync('/etc/subuid', 'utf8');
    // As usermod writes it; /etc has no shadow here.
    const [first = 0, last = 0] = uids.split('-').map(Number);
    for (const file of ['/etc/subuid', '/etc/subgid']) appendFileSync(file, `dave:${first}:${last - first + 1}\n`);
    expect(await checkConfig()).toMatchObject({ code: 0, stderr: '' });
    writeFileSync('/etc/subuid', `${before}dave:${sandbox.user('alice').subordinateStart}:65536\n`);
    const shared = await checkConfig();
    expect(shared.code).toBe(1);
    expect(shared.stderr).toContain('of user dave overlap those of alice, 300000-365535');
    expect(shared.stderr).toContain('of user alice overlap those of dave, 300000-365535');
  });

  test('are not looked at of root, of a user below min_uid and of nobody, whom no task can run as', async () => {
    const config = join(sandbox.directory, 'config.yaml');
    const check = () => runCommand([process.execPath, MAIN, 'check-config', '--config', config]);
    writeFileSync(config, 'users: {root: {}, daemon: {}}\n');
    const { code, stderr } = await check();
    expect(code).toBe(1);
    expect(stderr.split('\n')).toEqual([
      'nomad-rootless: user root: account: tasks never run as root; name another user',
      'user daemon: account: uid 1 is below min_uid, 1000; name another user, or set min_uid',
      '',
    ]);
    writeFileSync(config, 'nomad: {data_dir: /nowhere}\n');
    const nobody = await check();
    expect(nobody).toMatchObject({ code: 0, stderr: '' });
    expect(nobody.stdout).toMatch(/^Warning: users: none: no task can run/m);
    expect(nobody.stdout).toMatch(/^Warning: nomad\.data_dir: \/nowhere is no directory/m);
  });

  requires('getsubids')('where getsubids is asked', () => {
    test('are what it says', async () => {
      appendFileSync('/etc/subgid', 'alice:1000000:5\n');
      const { signal } = new AbortController();
      const start = sandbox.user('alice').subordinateStart;
      expect(await askSubordinateIds('alice', 'uid', signal)).toEqual([{ start, count: 65_536 }]);
      expect(await askSubordinateIds('alice', 'gid', signal)).toEqual([
        { start, count: 65_536 },
        { start: 1_000_000, count: 5 },
      ]);
      for (const name of ['dave', '-g', 'no-such-user']) {
        expect(await askSubordinateIds(name, 'uid', signal)).toBeUndefined();
      }
    });
  });

  test('are followed while the agent runs', async () => {
    const accounts = new Accounts({ clock: systemClock, log: silent });
    onTestFinished(() => accounts.close());
    for (const name of ['alice', 'dave']) accounts.watch(name, () => undefined);
    await until('dave is known', () => accounts.get('dave').kind === 'known');
    expect(accounts.get('dave')).toMatchObject({ idProblem: { code: 'no_subordinate_ids' } });
    expect(accounts.get('alice')).toMatchObject({ kind: 'known', idProblem: undefined });
    for (const file of ['/etc/subuid', '/etc/subgid']) appendFileSync(file, 'dave:365535:10\n');
    // Whoever is asked for next: all users are compared anew.
    accounts.get('root');
    for (const user of ['alice', 'dave']) {
      await until(`${user}'s are shared`, () => {
        const answer = accounts.get(user);
        return answer.kind === 'known' && answer.idProblem?.code === 'subordinate_ids_overlap';
      });
    }
  });
});
