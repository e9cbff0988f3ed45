import { chownSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import type { JobSpec, TaskSpec } from '../support/nomad/job.ts';
import { requires } from '../support/requires.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { driverFailure, jobOf, nothingLeftCase, runJob, shell } from './cases.ts';

const WRITES = 'echo kept >>/disk/x && cat /disk/x; echo ended; exec sleep 1000';

/** A job of a user whose task has a CSI volume at /disk. */
function jobWith(
  user: string,
  volume: string,
  id: string,
  { readOnly = false, task = {} }: { readOnly?: boolean; task?: Partial<TaskSpec> } = {},
): JobSpec {
  const volumes = [{ name: 'disk', type: 'csi', source: volume, readOnly } as const];
  const volumeMounts = [{ volume: 'disk', destination: '/disk' }];
  return { ...jobOf(user, id, shell('t', user, WRITES, { volumeMounts, ...task })), volumes };
}

requires(
  'root',
  'sandbox',
  'podman',
)('CSI volumes', () => {
  let environment: Environment<StandInNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({ startNomad: startStandInNomad });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  const createVolume = (id: string): string => {
    const { nomad, sandbox } = environment;
    const { uid, gid } = sandbox.user('alice');
    const kept = nomad.createCsiVolume(id);
    chownSync(kept, uid, gid);
    return kept;
  };
  const mountPoint = (allocation: string, volume: string, use: 'rw' | 'ro' = 'rw') => {
    const target = join('client/csi/node/plugin/per-alloc', allocation, volume);
    return join(environment.nomad.dataDir, target, `${use}-file-system-single-node-writer`);
  };
  const seenBy = (user: string, path: string) =>
    environment.sandbox.user(user).run(['podman', '--cgroup-manager=cgroupfs', 'unshare', 'cat', path]);

  test('a container writes into its CSI volume, and the next allocation reads it where it is mounted for that one', async () => {
    const { nomad, sandbox } = environment;
    const kept = createVolume('own');
    const first = await runJob(nomad, jobWith('alice', 'own', 'csi-first'));
    await first.waitForLog('t', 'ended');
    await first.gc();
    const second = await runJob(nomad, jobWith('alice', 'own', 'csi-second'));
    await second.waitForLog('t', 'ended');
    expect(await second.logs('t')).toEqual(['kept', 'kept', 'ended']);
    expect(statSync(join(kept, 'x')).uid).toBe(sandbox.user('alice').uid);
    expect((await seenBy('alice', join(mountPoint(first.id, 'own'), 'x'))).stdout).toBe('');
  });

  test('another user does not see what is mounted for an allocation that is not hers', async () => {
    const { nomad } = environment;
    createVolume('hers');
    // His Podman is there first, so that what were shown to it by mistake would be seen.
    const others = await runJob(nomad, jobOf('bob', 'csi-others', shell('t', 'bob', 'echo up; exec sleep 1000')));
    await others.waitForLog('t', 'up');
    const allocation = await runJob(nomad, jobWith('alice', 'hers', 'csi-hers'));
    await allocation.waitForLog('t', 'ended');
    const path = join(mountPoint(allocation.id, 'hers'), 'x');
    expect((await seenBy('alice', path)).stdout).toBe('kept\n');
    expect(await seenBy('bob', path)).toMatchObject({
      stdout: '',
      stderr: expect.stringMatching(/Permission denied|No such file/),
    });
  });

  test('what is claimed read_only cannot be written', async () => {
    const { nomad } = environment;
    const kept = createVolume('fixed');
    const args = ['-c', 'touch /disk/x 2>&1 || echo refused; echo ended; exec sleep 1000'];
    const allocation = await runJob(nomad, jobWith('alice', 'fixed', 'csi-ro', { readOnly: true, task: { args } }));
    await allocation.waitForLog('t', 'ended');
    expect(await allocation.logs('t')).toContain('refused');
    expect(readdirSync(kept)).toEqual([]);
  });

  test('a volumes entry that leads to what is mounted for another allocation, or above it, is refused', async () => {
    const { nomad } = environment;
    createVolume('first');
    createVolume('second');
    const other = await runJob(nomad, jobWith('alice', 'first', 'csi-other'));
    await other.waitForLog('t', 'ended');
    const target = mountPoint(other.id, 'first');
    const perAlloc = join(nomad.dataDir, 'client/csi/node/plugin/per-alloc');
    const staging = join(nomad.dataDir, 'client/csi/node/plugin/staging/default/second');
    mkdirSync(staging, { recursive: true });
    for (const [at, path] of [target, join(target, '..'), perAlloc, staging].entries()) {
      const task = { volumes: [`${path}:/sly`] };
      const allocation = await runJob(nomad, jobWith('alice', 'second', `csi-sly-${at}`, { task }));
      expect(await driverFailure(allocation, 't')).toMatch(/lies in Nomad's data dir, but neither in the directory of/);
    }
  });

  nothingLeftCase(() => environment);
});
