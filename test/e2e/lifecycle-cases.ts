import { existsSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import type { Environment } from '../support/environment.ts';
import { aclsBelow } from '../support/leftovers.ts';
import type { TaskSpec } from '../support/nomad/job.ts';
import type { AllocationUnderTest, NomadUnderTest } from '../support/nomad-under-test.ts';
import { until } from '../support/until.ts';
import { driverFailure, jobOf, runJob, shell } from './cases.ts';

/** The policy that the cases need. */
export const POLICY = [
  { namespace: 'default', jobs: 'may-*', users: ['alice', 'bob'] },
  { namespace: 'default', jobs: 'bobs-*', users: ['bob'] },
  // Whole ids, so that the jobs made of these are allowed by their parents' rights alone.
  { namespace: 'default', jobs: 'dispatched', users: ['alice'] },
  { namespace: 'default', jobs: 'periodic', users: ['alice'] },
];

const STAYS = 'echo up; exec sleep 1000';

/** What holds over the life of a job and of its allocations, beside every Nomad. */
export function lifecycleCases(environment: () => Environment<NomadUnderTest>): void {
  test('what an image with USER 1000 has kept on a sticky disk is read and written by the next allocation', async () => {
    const { nomad, sandbox } = environment();
    await sandbox.buildImage(sandbox.user('alice'), 'localhost/user:1', { user: '1000' });
    const script = (line: string) =>
      `umask 077; for f in /alloc/data/kept /local/kept; do echo ${line} >>$f && cat $f; done; echo ended; exec sleep 1000`;
    const job = (line: string) => ({
      ...jobOf('alice', 'may-keep', shell('t', 'alice', script(line), { image: 'localhost/user:1' })),
      keepsDisk: true,
    });
    const first = await runJob(nomad, job('one'));
    await first.waitForLog('t', 'ended');
    expect(await first.logs('t')).toEqual(['one', 'one', 'ended']);
    const second = await updateJob(nomad, first, job('two'));
    expect(second.id).not.toBe(first.id);
    await second.waitForLog('t', 'ended');
    expect(await second.logs('t')).toEqual(['one', 'two', 'one', 'two', 'ended']);
  });

  test('a change of the job that Nomad makes in place leaves the container as it is', async () => {
    const { nomad, sandbox, agent } = environment();
    const job = jobOf('alice', 'may-stay', shell('t', 'alice', STAYS));
    const allocation = await runJob(nomad, job);
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    const containers = () => sandbox.user('alice').podman(['ps', '--quiet', '--no-trunc']);
    const before = await containers();
    const after = await nomad.updateJob(allocation, { ...job, priority: 60 });
    expect(after.id).toBe(allocation.id);
    expect(
      (await allocation.exec('t', ['/bin/sh', '-c', 'echo more >/alloc/data/x; cat /alloc/data/x'])).stdout,
    ).toContain('more');
    expect(await containers()).toBe(before);
    const { stdout } = await agent.command(['explain', '--json', allocation.id]);
    expect(JSON.parse(stdout)).toMatchObject({ state: 'ready', notApplied: [] });
  });

  test('a job that changes its user gets an allocation of the new one, and the former keeps nothing', async () => {
    const { nomad, sandbox } = environment();
    const job = (user: string) => jobOf(user, 'may-change', shell('t', user, STAYS));
    const former = await runJob(nomad, job('alice'));
    await former.waitForLog('t', 'up');
    const look = async (path: string) =>
      (await sandbox.user('alice').run(['podman', '--cgroup-manager=cgroupfs', 'unshare', 'ls', path])).code;
    expect(await look(former.directory)).toBe(0);
    const next = await updateJob(nomad, former, job('bob'));
    expect(next.id).not.toBe(former.id);
    await next.waitForLog('t', 'up');
    expect(await aclsBelow(next.directory)).toContainEqual(
      expect.stringContaining(` user:${sandbox.user('bob').uid}:`),
    );
    expect(await look(next.directory)).not.toBe(0);
    expect(await sandbox.user('alice').podman(['ps', '--quiet'])).toBe('');
    // Its directory stays until Nomad collects it.
    expect(existsSync(former.directory)).toBe(true);
    await until("the former's entries are gone", async () => (await aclsBelow(former.directory)).length === 0);
    await until('alice sees the former no more', async () => (await look(former.directory)) !== 0);
  });

  test("two users in one allocation share /alloc, and reach their own tasks' directories only", async () => {
    const { nomad, sandbox } = environment();
    const task = (user: string, other: string): TaskSpec =>
      shell(
        `of-${user}`,
        user,
        `echo ${user} >/alloc/data/${user}; echo own >/local/x; until cat /alloc/data/${other}; do sleep 0.1; done; ${STAYS}`,
        { meta: { podman_user: user } },
      );
    const allocation = await runJob(nomad, jobOf(undefined, 'may-share', task('alice', 'bob'), task('bob', 'alice')));
    await allocation.waitForLog('of-alice', 'bob');
    await allocation.waitForLog('of-bob', 'alice');
    const read = async (user: string, path: string) => {
      const argv = ['podman', '--cgroup-manager=cgroupfs', 'unshare', 'cat', `${allocation.directory}/${path}`];
      return (await sandbox.user(user).run(argv)).stdout;
    };
    expect(await read('alice', 'of-alice/local/x')).toBe('own\n');
    expect(await read('bob', 'of-bob/local/x')).toBe('own\n');
    expect(await read('alice', 'of-bob/local/x')).toBe('');
    expect(await read('bob', 'of-alice/local/x')).toBe('');
  });

  test('prestart, sidecar, main and poststart tasks start in their order, each with access', async () => {
    const { nomad } = environment();
    const writes = (name: string) => `echo ${name} >>/alloc/data/x && echo own >/local/x && cat /alloc/data/x`;
    // Nomad counts a task as running from its start on, before its script writes anything.
    const after = (name: string) => `until grep -qs ${name} /alloc/data/x; do sleep 0.1; done`;
    const sidecar = (hook: 'prestart' | 'poststart') => ({ lifecycle: { hook, sidecar: true } });
    const allocation = await runJob(
      nomad,
      jobOf(
        'alice',
        'may-live',
        shell('before', 'alice', writes('before'), { lifecycle: { hook: 'prestart' } }),
        shell('beside', 'alice', `${after('before')}; ${writes('beside')}; ${STAYS}`, sidecar('prestart')),
        shell('main', 'alice', `${writes('main')}; ${STAYS}`),
        shell('behind', 'alice', `${after('main')}; ${writes('behind')}; ${STAYS}`, sidecar('poststart')),
      ),
    );
    for (const task of ['beside', 'main', 'behind']) await allocation.waitForLog(task, 'up');
    await allocation.waitForLog('before', 'before');
    expect(await allocation.logs('before')).toEqual(['before']);
    const lines = await allocation.logs('behind');
    expect(lines.filter((line) => line !== 'beside')).toEqual(['before', 'main', 'behind', 'up']);
    expect(await allocation.logs('beside')).toContain('beside');
  });

  test.each(['service', 'system', 'sysbatch'] as const)('a job of type %s is served like any other', async (type) => {
    const { nomad } = environment();
    const job = jobOf('alice', `may-${type}`, shell('t', 'alice', `echo x >/alloc/data/x && ${STAYS}`));
    const allocation = await runJob(nomad, { ...job, type });
    await allocation.waitForLog('t', 'up');
  });

  test.each([
    ['dispatched', 'dispatchJob', 3],
    ['periodic', 'forceJob', 4],
  ] as const)('a %s job goes by the policy for the job that it was made of', async (parent, make, place) => {
    const { nomad, agent } = environment();
    const allocation = await nomad[make](jobOf('alice', parent, shell('t', 'alice', STAYS)));
    onTestFinished(() => allocation.gc());
    await allocation.waitForLog('t', 'up');
    const { stdout } = await agent.command(['explain', '--json', allocation.id]);
    expect(JSON.parse(stdout)).toMatchObject({
      jobId: expect.stringMatching(new RegExp(`^${parent}/.+-\\d`)),
      parentJobId: parent,
      tasks: [{ policy: { entry: { place } } }],
    });
  });

  test('a job that is only named as if it were made of another one has no rights of that one', async () => {
    const { nomad } = environment();
    const id = 'dispatched/dispatch-1700000000-11111111';
    const allocation = await runJob(nomad, jobOf('alice', id, shell('t', 'alice', STAYS)));
    expect(await driverFailure(allocation, 't')).toContain(
      `the policy of this node does not let job ${id} of namespace default run as alice`,
    );
  });

  test('a job is not refused for its name alone, but for a user whom the policy does not give it', async () => {
    const { nomad } = environment();
    const allowed = await runJob(nomad, jobOf('bob', 'bobs-own', shell('t', 'bob', STAYS)));
    await allowed.waitForLog('t', 'up');
    const refused = await runJob(nomad, jobOf('alice', 'bobs-other', shell('t', 'alice', STAYS)));
    expect(await driverFailure(refused, 't')).toContain(
      'the policy of this node does not let job bobs-other of namespace default run as alice; ask the operator to allow it under policy',
    );
  });
}

/** Registers the changed job; what comes of it goes with the test too. */
async function updateJob(
  nomad: NomadUnderTest,
  former: AllocationUnderTest,
  job: Parameters<NomadUnderTest['updateJob']>[1],
): Promise<AllocationUnderTest> {
  const next = await nomad.updateJob(former, job);
  onTestFinished(() => next.gc());
  return next;
}
