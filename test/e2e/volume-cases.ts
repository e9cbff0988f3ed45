import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Environment } from '../support/environment.ts';
import { aclsBelow } from '../support/leftovers.ts';
import type { JobSpec, TaskSpec } from '../support/nomad/job.ts';
import type { NomadUnderTest } from '../support/nomad-under-test.ts';
import { until } from '../support/until.ts';
import { driverFailure, jobOf, runJob, shell } from './cases.ts';

/** Writes into its volume, says what it reads there, and stays. */
const WRITES = 'echo kept >>/files/x && cat /files/x; echo ended; exec sleep 1000';

/** A job of a user whose task has a host volume at /files. */
function jobWith(
  user: string,
  volume: string,
  id: string,
  { readOnly = false, task = {} as Partial<TaskSpec> } = {},
): JobSpec {
  const volumeMounts = [{ volume: 'files', destination: '/files' }];
  const volumes = [{ name: 'files', type: 'host', source: volume, readOnly } as const];
  return { ...jobOf(user, id, shell('t', user, WRITES, { volumeMounts, ...task })), volumes };
}

/** What holds of host volumes beside every Nomad, as long as the operator has not opened them by the configuration. */
export function volumeCases(environment: () => Environment<NomadUnderTest>): void {
  const ownedBy = (user: string) => {
    const { uid } = environment().sandbox.user(user);
    return { uid, gid: uid, mode: '0700' };
  };

  test('a container writes into a host volume that was made for its user, and the next one reads it', async () => {
    const { nomad, sandbox } = environment();
    const path = await nomad.createHostVolume('own', ownedBy('alice'));
    const first = await runJob(nomad, jobWith('alice', 'own', 'volume-first'));
    await first.waitForLog('t', 'ended');
    expect(await first.logs('t')).toEqual(['kept', 'ended']);
    await first.gc();
    const second = await runJob(nomad, jobWith('alice', 'own', 'volume-second'));
    await second.waitForLog('t', 'ended');
    expect(await second.logs('t')).toEqual(['kept', 'kept', 'ended']);
    expect(statSync(join(path, 'x')).uid).toBe(sandbox.user('alice').uid);
  });

  test('another user sees neither the volume nor its name', async () => {
    const { nomad, sandbox } = environment();
    const path = await nomad.createHostVolume('hers', ownedBy('alice'));
    const allocation = await runJob(nomad, jobWith('alice', 'hers', 'volume-hers'));
    await allocation.waitForLog('t', 'ended');
    const look = (user: string) =>
      sandbox.user(user).run(['podman', '--cgroup-manager=cgroupfs', 'unshare', 'cat', join(path, 'x')]);
    expect((await look('alice')).stdout).toBe('kept\n');
    expect(await look('bob')).toMatchObject({
      stdout: '',
      stderr: expect.stringMatching(/Permission denied|No such file/),
    });
  });

  test("a volume that is root's alone is refused, and the job author is told who can do what", async () => {
    const { nomad, sandbox } = environment();
    await nomad.createHostVolume('shut');
    const allocation = await runJob(nomad, jobWith('alice', 'shut', 'volume-shut'));
    const { uid } = sandbox.user('alice');
    expect(await driverFailure(allocation, 't')).toMatch(
      new RegExp(
        `host volume shut .* is root's alone .*create it with parameters of its plugin .*uid = ${uid}.*volumes: acl`,
      ),
    );
  });

  test('what is claimed read_only is mounted read-only, and not to be written by another way', async () => {
    const { nomad } = environment();
    const path = await nomad.createHostVolume('fixed', ownedBy('alice'));
    const script = 'touch /files/x 2>&1 || echo refused; echo ended; exec sleep 1000';
    const args = ['-c', script];
    const allocation = await runJob(nomad, jobWith('alice', 'fixed', 'volume-ro', { readOnly: true, task: { args } }));
    await allocation.waitFor('running');
    await allocation.waitForLog('t', 'ended');
    expect(await allocation.logs('t')).toContain('refused');
    const task = { volumes: [`${path}:/again`] };
    const sly = await runJob(nomad, jobWith('alice', 'fixed', 'volume-ro-sly', { readOnly: true, task }));
    expect(await driverFailure(sly, 't')).toMatch(/which the group claims read_only; mount it read-only/);
  });

  test('a volumes entry that leads to another volume, or elsewhere in the data dir, is refused', async () => {
    const { nomad } = environment();
    await nomad.createHostVolume('claimed', ownedBy('alice'));
    const other = await nomad.createHostVolume('other', ownedBy('alice'));
    const elsewhere = join(nomad.dataDir, 'elsewhere');
    mkdirSync(elsewhere, { recursive: true });
    for (const [at, path] of [other, elsewhere, nomad.dataDir].entries()) {
      const task = { volumes: [`${path}:/sly`] };
      const allocation = await runJob(nomad, jobWith('alice', 'claimed', `volume-sly-${at}`, { task }));
      expect(await driverFailure(allocation, 't')).toMatch(/lies in Nomad's data dir, but neither in the directory of/);
    }
  });
}

/** What holds with `volumes: acl`. */
export function openedVolumeCases(environment: () => Environment<NomadUnderTest>): void {
  test("a user gets rights on a volume that is root's alone, for as long as an allocation of hers claims it", async () => {
    const { nomad, sandbox } = environment();
    const path = await nomad.createHostVolume('opened');
    const { uid } = sandbox.user('alice');
    const [first, second] = await Promise.all(
      [1, 2].map((number) => runJob(nomad, jobWith('alice', 'opened', `volume-opened-${number}`))),
    );
    await first?.waitForLog('t', 'ended');
    await second?.waitForLog('t', 'ended');
    expect(await aclsBelow(path)).toContain(`${path} user:${uid}:rwx`);
    await first?.gc();
    expect(await aclsBelow(path)).toContain(`${path} user:${uid}:rwx`);
    await second?.gc();
    await until('the entry is gone', async () => (await aclsBelow(path)).length === 0);
    expect(statSync(path).mode & 0o777).toBe(0o700);
  });
}
