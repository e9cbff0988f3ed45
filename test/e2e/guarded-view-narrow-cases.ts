import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Environment } from '../support/environment.ts';
import { variable } from '../support/nomad/template.ts';
import type { NomadUnderTest } from '../support/nomad-under-test.ts';
import { jobOf, runJob, shell } from './cases.ts';
import { buildUserImage, STAYS, USER_IMAGE, WAITS } from './guarded-view-cases.ts';

const ENDS = `echo ended; ${STAYS}`;

/** What root gives to one id alone, and a container has as that id: where ids on disk are those of the container. */
export function narrowCases(environment: () => Environment<NomadUnderTest>): void {
  test("the container's root reads secrets that are root's alone, and can write none", async () => {
    const { nomad } = environment();
    const secret = (destination: string, perms: string) => ({ destination, perms, content: `${perms}\n` });
    const script = `exec 2>&1; cat /secrets/a /secrets/b /secrets/c; echo x >/secrets/own; rm /secrets/a; ${ENDS}`;
    const task = shell('t', 'alice', script, {
      templates: [secret('secrets/a', '600'), secret('secrets/b', '640'), secret('secrets/c', '644')],
    });
    const allocation = await runJob(nomad, jobOf('alice', 'secrets', task));
    await allocation.waitForLog('t', 'ended');
    const lines = await allocation.logs('t');
    expect(lines.filter((line) => /^\d+$/.test(line))).toEqual(['600', '640', '644']);
    expect(lines.filter((line) => line.includes('Read-only file system'))).toHaveLength(2);
  });

  test.each([
    ['an image with USER 1000', { image: USER_IMAGE }, 1000],
    ['a task with user = 1000', { user: '1000' }, 1000],
    ["a task of the container's root", {}, 0],
  ])('%s reads what templates give it alone, and writes to all that is its own', async (_, more, id) => {
    const { nomad } = environment();
    await buildUserImage(environment());
    const given = (destination: string) => ({ destination, content: `given\n`, perms: '600', uid: id, gid: id });
    const writes = 'for d in /local /alloc/data /alloc/tmp /alloc; do echo own >$d/own && cat $d/own; done';
    const task = shell('t', 'alice', `id -u; cat /local/given /secrets/given; ${writes}; ${ENDS}`, {
      ...more,
      templates: [given('local/given'), given('secrets/given')],
    });
    const allocation = await runJob(nomad, jobOf('alice', `given-${Object.keys(more)[0] ?? 'root'}`, task));
    await allocation.waitForLog('t', 'ended');
    expect(await allocation.logs('t')).toEqual([`${id}`, 'given', 'given', 'own', 'own', 'own', 'own', 'ended']);
  });

  test('a template that is rendered anew is seen by the container that runs', async () => {
    const { nomad } = environment();
    const path = 'nomad/jobs/renders';
    await nomad.putVariable(path, { word: 'one' });
    const content = variable(path, 'word');
    const templates = ['local/word', 'secrets/word'].map((destination) => ({ destination, content, perms: '600' }));
    // In one write: what comes in two, conmon and logmon may make two lines of.
    const script = `echo "$(cat /local/word)$(cat /secrets/word)"; until grep two /local/word && grep two /secrets/word; do sleep 0.1; done; ${ENDS}`;
    const allocation = await runJob(nomad, jobOf('alice', 'renders', shell('t', 'alice', script, { templates })));
    await allocation.waitForLog('t', 'oneone');
    await nomad.putVariable(path, { word: 'two' });
    await allocation.waitForLog('t', 'ended');
  });

  test("an artifact with narrow modes that root put into local/ is the container's root's to read and run", async () => {
    const { nomad } = environment();
    const script = `${WAITS}; sh /local/artifact; ls -ln /local/artifact | cut -c 1-10; echo more >>/local/artifact && ${ENDS}`;
    const allocation = await runJob(nomad, jobOf('alice', 'artifact', shell('t', 'alice', script)));
    await allocation.waitFor('running');
    const artifact = join(allocation.directory, 't/local/artifact');
    writeFileSync(artifact, 'echo run\n');
    chmodSync(artifact, 0o700);
    writeFileSync(join(allocation.directory, 'alloc/data/go'), '');
    await allocation.waitForLog('t', 'ended');
    expect(await allocation.logs('t')).toEqual(['run', '-rwx------', 'ended']);
  });
}
