import { chmodSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import type { Environment } from '../support/environment.ts';
import { aclsBelow } from '../support/leftovers.ts';
import type { TaskSpec } from '../support/nomad/job.ts';
import type { AllocationUnderTest, NomadUnderTest } from '../support/nomad-under-test.ts';
import { driverFailure, jobOf, runJob, shell } from './cases.ts';

/** The policy that the cases need. */
export const POLICY = [
  { namespace: 'default', jobs: 'may-*', users: ['alice', 'bob'] },
  { namespace: 'default', jobs: 'bobs-*', users: ['bob'] },
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
    expect(JSON.parse(stdout)).toMatchObject({ state: 'ready', unfollowed: [] });
  });

  test('a job that changes its user gets an allocation of the new one, and the former keeps nothing', async () => {
    const { nomad, sandbox } = environment();
    const job = (user: string) => jobOf(user, 'may-change', shell('t', user, STAYS));
    const former = await runJob(nomad, job('alice'));
    await former.waitForLog('t', 'up');
    const next = await updateJob(nomad, former, job('bob'));
    expect(next.id).not.toBe(former.id);
    await next.waitForLog('t', 'up');
    expect(await aclsBelow(next.directory)).toContainEqual(
      expect.stringContaining(` user:${sandbox.user('bob').uid}:`),
    );
    const seen = await sandbox
      .user('alice')
      .run(['podman', '--cgroup-manager=cgroupfs', 'unshare', 'ls', next.directory]);
    expect(seen.code).not.toBe(0);
    expect(await sandbox.user('alice').podman(['ps', '--quiet'])).toBe('');
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

  test('prestart, sidecar, main and poststart tasks all have access when they start', async () => {
    const { nomad } = environment();
    const writes = (name: string) =>
      `echo ${name} >>/alloc/data/x && echo own >/local/x && cat /alloc/data/x; ${STAYS}`;
    const allocation = await runJob(
      nomad,
      jobOf(
        'alice',
        'may-live',
        shell('before', 'alice', 'echo before >>/alloc/data/x && cat /alloc/data/x', {
          lifecycle: { hook: 'prestart' },
        }),
        shell('beside', 'alice', writes('beside'), { lifecycle: { hook: 'prestart', sidecar: true } }),
        shell('main', 'alice', writes('main')),
        shell('behind', 'alice', writes('behind'), { lifecycle: { hook: 'poststart', sidecar: true } }),
      ),
    );
    for (const task of ['beside', 'main', 'behind']) await allocation.waitForLog(task, 'up');
    expect(await allocation.logs('before')).toContain('before');
    expect(await allocation.logs('behind')).toEqual(
      expect.arrayContaining(['before', 'beside', 'main', 'behind', 'up']),
    );
  });

  test("a raw_exec task of another user works beside alice's container, where he may pass the data dir", async () => {
    const { nomad } = environment();
    // At 0700 Nomad itself cannot start the task of a user.
    chmodSync(nomad.dataDir, 0o711);
    onTestFinished(() => chmodSync(nomad.dataDir, 0o700));
    const raw = { name: 'raw', driver: 'raw_exec', user: 'bob', command: '/bin/sh' };
    const script =
      'cd "$NOMAD_ALLOC_DIR/data" && id -un && echo raw >raw; until cat x; do sleep 0.1; done; exec sleep 1000';
    const main = shell(
      't',
      'alice',
      `echo hers >/alloc/data/x; until cat /alloc/data/raw; do sleep 0.1; done; ${STAYS}`,
    );
    const allocation = await runJob(nomad, jobOf('alice', 'may-mix', main, { ...raw, args: ['-c', script] }));
    await allocation.waitForLog('t', 'raw');
    await allocation.waitForLog('raw', 'hers');
    expect((await allocation.logs('raw'))[0]).toBe('bob');
  });

  test.each(['service', 'system', 'sysbatch'] as const)('a job of type %s is served like any other', async (type) => {
    const { nomad } = environment();
    const job = jobOf('alice', `may-${type}`, shell('t', 'alice', `echo x >/alloc/data/x && ${STAYS}`));
    const allocation = await runJob(nomad, { ...job, type });
    await allocation.waitForLog('t', 'up');
  });

  test('a dispatched job goes by the policy for the job that it was dispatched of', async () => {
    const { nomad, agent } = environment();
    const allocation = await nomad.dispatchJob(jobOf('alice', 'may-repeat', shell('t', 'alice', STAYS)));
    await allocation.waitForLog('t', 'up');
    const { stdout } = await agent.command(['explain', '--json', allocation.id]);
    expect(JSON.parse(stdout)).toMatchObject({
      parentJobId: 'may-repeat',
      tasks: [{ policy: { entry: { place: 1 } } }],
    });
    await allocation.gc();
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
