import { expect, onTestFinished, test } from 'vitest';
import type { Environment } from '../support/environment.ts';
import type { NomadUnderTest } from '../support/nomad-under-test.ts';
import { jobOf, runJob, shell } from './cases.ts';
import { buildUserImage, STAYS, USER_IMAGE } from './guarded-view-cases.ts';

const ENDS = `echo ended; ${STAYS}`;

/** What jobs do on any node, and do in the guarded view as well. */
export function workCases(environment: () => Environment<NomadUnderTest>): void {
  test('tasks of one allocation share the top of /alloc, and what a template puts there is seen', async () => {
    const { nomad } = environment();
    await buildUserImage(environment());
    const template = { destination: '../alloc/x', content: 'of the template\n' };
    const first = shell('first', 'alice', `echo hello >/alloc/hello; cat /alloc/x; ${ENDS}`, {
      templates: [template],
    });
    const script = `until cat /alloc/hello; do sleep 0.1; done; echo more >>/alloc/hello && ${ENDS}`;
    const second = shell('second', 'alice', script, { lifecycle: { hook: 'poststart', sidecar: true } });
    const allocation = await runJob(nomad, jobOf('alice', 'shared-top', first, second));
    await allocation.waitForLog('second', 'ended');
    expect(await allocation.logs('first')).toEqual(['of the template', 'ended']);
    expect(await allocation.logs('second')).toContain('hello');
  });

  test('a sidecar that ships logs reads those of the other tasks, and cannot write there', async () => {
    const { nomad } = environment();
    const main = shell('main', 'alice', `echo shipped; ${STAYS}`);
    const ships = 'until grep -h shipped /alloc/logs/main.stdout.0; do sleep 0.1; done';
    const script = `exec 2>&1; ${ships}; echo x >/alloc/logs/own; rm -f /alloc/logs/main.stdout.0; ${ENDS}`;
    const sidecar = shell('shipper', 'alice', script, { lifecycle: { hook: 'poststart', sidecar: true } });
    const allocation = await runJob(nomad, jobOf('alice', 'ships', main, sidecar));
    await allocation.waitForLog('shipper', 'ended');
    const lines = await allocation.logs('shipper');
    expect(lines).toContainEqual(expect.stringMatching(/shipped$/));
    expect(lines.filter((line) => line.includes('Read-only file system'))).toHaveLength(2);
    await allocation.waitForLog('main', 'shipped');
  });

  test('with userns = keep-id a container reads its secrets and writes to all that is its own', async () => {
    const { nomad } = environment();
    const writes = 'for d in /local /alloc/data /alloc; do echo own >$d/own && cat $d/own; done';
    const task = shell('t', 'alice', `cat /secrets/token; ${writes}; ${ENDS}`, {
      userns: 'keep-id',
      secrets: { token: 'secret\n' },
    });
    const allocation = await runJob(nomad, jobOf('alice', 'keeps-id', task));
    await allocation.waitForLog('t', 'ended');
    expect(await allocation.logs('t')).toEqual(['secret', 'own', 'own', 'own', 'ended']);
  });

  test('what the volumes of a task name below its directory is there, and what root put there is read-only', async () => {
    const { nomad } = environment();
    const templates = [
      { destination: 'conf/app.conf', content: 'configured\n' },
      { destination: 'local/l', content: 'local\n' },
    ];
    const script = `exec 2>&1; cat /etc/conf/app.conf /t/conf/app.conf /t/local/l; echo x >/etc/conf/own; echo x >/t/own; echo x >/t/local/own && ${ENDS}`;
    const task = shell('t', 'alice', script, { templates, volumes: ['conf:/etc/conf', './:/t'] });
    const allocation = await runJob(nomad, jobOf('alice', 'configured', task));
    await allocation.waitForLog('t', 'ended');
    const lines = await allocation.logs('t');
    expect(lines.filter((line) => line !== '' && !line.includes(' '))).toEqual([
      'configured',
      'configured',
      'local',
      'ended',
    ]);
    const refused = /\/etc\/conf\/own: Read-only file system|\/t\/own: (Read-only file system|Permission denied)/;
    expect(lines.filter((line) => refused.test(line))).toHaveLength(2);
  });

  test('a sticky disk goes on to the next allocation with what root and user 1000 kept there', async () => {
    const { nomad } = environment();
    await buildUserImage(environment());
    const script = (line: string) =>
      `umask 077; for f in /alloc/data/kept-$(id -u) /local/kept; do echo ${line} >>$f && cat $f; done; ${ENDS}`;
    const job = (line: string) => ({
      ...jobOf(
        'alice',
        'keeps',
        shell('t', 'alice', script(line)),
        shell('u', 'alice', script(line), { image: USER_IMAGE }),
      ),
      keepsDisk: true,
    });
    const first = await runJob(nomad, job('one'));
    for (const task of ['t', 'u']) await first.waitForLog(task, 'ended');
    const second = await nomad.updateJob(first, job('two'));
    onTestFinished(() => second.gc());
    for (const task of ['t', 'u']) {
      await second.waitForLog(task, 'ended');
      expect(await second.logs(task)).toEqual(['one', 'two', 'one', 'two', 'ended']);
    }
  });
}
