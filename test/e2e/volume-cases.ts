import { existsSync, mkdirSync, statSync } from 'node:fs';
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

  test('another user sees neither the volume nor its name, also where he has a volume himself', async () => {
    const { nomad, sandbox } = environment();
    const paths = { alice: '', bob: '' };
    for (const user of ['alice', 'bob'] as const) {
      paths[user] = await nomad.createHostVolume(`of-${user}`, ownedBy(user));
      const allocation = await runJob(nomad, jobWith(user, `of-${user}`, `volume-of-${user}`));
      await allocation.waitForLog('t', 'ended');
    }
    const look = (user: string, ...argv: string[]) =>
      sandbox.user(user).run(['podman', '--cgroup-manager=cgroupfs', 'unshare', ...argv]);
    expect((await look('alice', 'cat', join(paths.alice, 'x'))).stdout).toBe('kept\n');
    expect((await look('bob', 'cat', join(paths.alice, 'x'))).stdout).toBe('');
    const isThere = async (user: string, path: string) => (await look(user, 'test', '-d', path)).code === 0;
    expect(await isThere('alice', paths.alice)).toBe(true);
    expect(await isThere('alice', paths.bob)).toBe(false);
    expect(await isThere('bob', paths.bob)).toBe(true);
    expect(await isThere('bob', paths.alice)).toBe(false);
  });

  test("a volume that is root's alone is refused, and the job author is told who can do what", async () => {
    const { nomad, sandbox } = environment();
    await nomad.createHostVolume('shut');
    const allocation = await runJob(nomad, jobWith('alice', 'shut', 'volume-shut'));
    const { uid } = sandbox.user('alice');
    expect(await driverFailure(allocation, 't')).toMatch(
      new RegExp(
        `host volume shut .* belongs to root alone .*create it with parameters of its plugin .*uid = ${uid}.*volumes: acl`,
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
    const { nomad, sandbox, agent } = environment();
    const path = await nomad.createHostVolume('opened');
    const { uid } = sandbox.user('alice');
    const [first, second] = await Promise.all(
      [1, 2].map((number) => runJob(nomad, jobWith('alice', 'opened', `volume-opened-${number}`))),
    );
    await first?.waitForLog('t', 'ended');
    await second?.waitForLog('t', 'ended');
    expect(await aclsBelow(path)).toContain(`${path} user:${uid}:rwx`);
    await first?.gc();
    await until('the agent is done with the first', async () => {
      const { stdout } = await agent.command(['status', '--json']);
      const { allocations }: { allocations: { id: string }[] } = JSON.parse(stdout);
      return allocations.every(({ id }) => id !== first?.id) && allocations.some(({ id }) => id === second?.id);
    });
    expect(await aclsBelow(path)).toContain(`${path} user:${uid}:rwx`);
    expect(await second?.exec('t', ['/bin/sh', '-c', 'echo more >>/files/x'])).toMatchObject({ exitCode: 0 });
    await second?.gc();
    await until('the entry is gone', async () => (await aclsBelow(path)).length === 0);
    expect(statSync(path).mode & 0o777).toBe(0o700);
  });
}

/** What holds with `volumes: idmap`. */
export function mappedVolumeCases(environment: () => Environment<NomadUnderTest>): void {
  test("a volume that is root's alone is its container's root's, as on a rootful node", async () => {
    const { nomad } = environment();
    const path = await nomad.createHostVolume('mapped');
    const script =
      'echo kept >/files/x && chown 999:999 /files/x && chmod 600 /files/x && stat -c %u /files/x; exec sleep 1000';
    const task = { args: ['-c', script] };
    const allocation = await runJob(nomad, jobWith('alice', 'mapped', 'volume-mapped', { task }));
    await allocation.waitForLog('t', '999');
    expect([statSync(path).uid, statSync(join(path, 'x')).uid]).toEqual([0, 999]);
    expect(await aclsBelow(path)).toEqual([]);
  });

  test('a privileged container cannot make a volume writable that its group claims for reading', async () => {
    const { nomad, sandbox } = environment();
    const path = await nomad.createHostVolume('read');
    const script = 'mount -o remount,bind,rw /files; touch /files/x; echo tried; exec sleep 1000';
    const task = { args: ['-c', script], privileged: true };
    const allocation = await runJob(nomad, jobWith('alice', 'read', 'volume-read', { readOnly: true, task }));
    await allocation.waitForLog('t', 'tried');
    const within = ['podman', '--cgroup-manager=cgroupfs', 'unshare', 'sh', '-c'];
    await sandbox.user('alice').run([...within, `mount -o remount,bind,rw ${path}; touch ${path}/y`]);
    expect(existsSync(join(path, 'x')) || existsSync(join(path, 'y'))).toBe(false);
  });
}
