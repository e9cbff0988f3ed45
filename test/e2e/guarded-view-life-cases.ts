import { expect, test } from 'vitest';
import type { Environment } from '../support/environment.ts';
import type { NomadUnderTest } from '../support/nomad-under-test.ts';
import { jobOf, runJob, shell } from './cases.ts';
import { STAYS } from './guarded-view-cases.ts';

const TRIES = [
  '/bin/sh',
  '-c',
  'for d in /local /alloc /alloc/data /alloc/tmp; do echo again >$d/again && cat $d/again; done; cat /secrets/token; ls /alloc/logs | grep -c stdout',
];

/** That a view lasts as long as its allocation: over restarts of tasks, of Nomad's client, and of the agent. */
export function lifeCases(environment: () => Environment<NomadUnderTest>): void {
  test('a sidecar and a poststop task have all that is theirs, before and after', async () => {
    const { nomad } = environment();
    const side = shell('side', 'alice', `echo side >/alloc/side; cat /secrets/token; echo up; ${STAYS}`, {
      lifecycle: { hook: 'prestart', sidecar: true },
      secrets: { token: 'of-side\n' },
    });
    const main = shell('main', 'alice', `until cat /alloc/side; do sleep 0.1; done; echo main >/alloc/main; ${STAYS}`);
    const after = shell(
      'after',
      'alice',
      'cat /alloc/main /alloc/side /secrets/token; echo own >/local/x && echo ended',
      {
        lifecycle: { hook: 'poststop' },
        secrets: { token: 'of-after\n' },
      },
    );
    const allocation = await runJob(nomad, jobOf('alice', 'lives', side, main, after));
    await allocation.waitForLog('main', 'side');
    await allocation.waitFor('running');
    await allocation.stop();
    await allocation.waitForLog('after', 'ended');
    expect(await allocation.logs('after')).toEqual(['main', 'side', 'of-after', 'ended']);
  });

  test('two users in one allocation share its top and its data, and see nothing of the tasks of each other', async () => {
    const { nomad } = environment();
    const task = (user: string, other: string) =>
      shell(
        `of-${user}`,
        user,
        `echo ${user} >/alloc/data/${user}; echo ${user} >/alloc/${user}; until cat /alloc/data/${other} /alloc/${other}; do sleep 0.1; done; cat /secrets/token; ls /t; echo ended; ${STAYS}`,
        { meta: { podman_user: user }, secrets: { token: `secret-of-${user}\n` }, volumes: ['./:/t'] },
      );
    const allocation = await runJob(nomad, jobOf(undefined, 'both', task('alice', 'bob'), task('bob', 'alice')));
    for (const [user, other] of [
      ['alice', 'bob'],
      ['bob', 'alice'],
    ] as const) {
      await allocation.waitForLog(`of-${user}`, 'ended');
      const lines = await allocation.logs(`of-${user}`);
      expect(lines.filter((line) => line === other)).toHaveLength(2);
      expect(lines).toContain(`secret-of-${user}`);
      const sees = async (path: string) =>
        (await nomadSees(environment(), user, `${allocation.directory}/${path}`)) === 0;
      expect(await sees(`of-${user}/local`)).toBe(true);
      expect(await sees(`of-${other}`)).toBe(false);
    }
  });

  test('a task that fails and starts again, and one that is restarted, have all that is theirs again', async () => {
    const { nomad } = environment();
    const script = `cat /secrets/token; echo x >>/local/starts; wc -l </local/starts; [ -e /alloc/data/once ] || { touch /alloc/data/once; exit 1; }; echo up; ${STAYS}`;
    const task = shell('t', 'alice', script, { secrets: { token: 'secret\n' } });
    const allocation = await runJob(nomad, { ...jobOf('alice', 'restarts', task), restartAttempts: 1 });
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    await allocation.restart('t');
    await expect.poll(async () => (await allocation.logs('t')).filter((line) => line === 'up').length).toBe(2);
    expect((await allocation.logs('t')).filter((line) => line !== 'up')).toEqual(
      [1, 2, 3].flatMap((start) => ['secret', String(start)]),
    );
  });

  test.each([
    ["Nomad's client is killed and started again", ({ nomad }) => nomad.restartClient()],
    [
      'the agent is stopped and started again',
      async ({ agent }) => {
        await agent.stop();
        await agent.start();
      },
    ],
    [
      'the agent is killed and started again',
      async ({ agent }) => {
        await agent.stop('SIGKILL');
        await agent.start();
      },
    ],
  ] satisfies [string, (environment: Environment<NomadUnderTest>) => Promise<void>][])(
    'a container keeps all that is its own while %s, and its next start has it too',
    async (title, restart) => {
      const { nomad, sandbox } = environment();
      const task = shell('t', 'alice', `echo up; ${STAYS}`, { secrets: { token: 'secret\n' } });
      const id = `kept-${title.replaceAll(/\W+/g, '-').toLowerCase()}`;
      const allocation = await runJob(nomad, jobOf('alice', id, task));
      await allocation.waitForLog('t', 'up');
      await allocation.waitFor('running');
      const containers = () => sandbox.user('alice').podman(['ps', '--quiet', '--no-trunc']);
      const before = await containers();
      await restart(environment());
      const all = ['again', 'again', 'again', 'again', 'secret'];
      expect((await allocation.exec('t', TRIES)).stdout.split(/\r?\n/).slice(0, 5)).toEqual(all);
      expect(await containers()).toBe(before);
      await allocation.restart('t');
      expect((await allocation.exec('t', TRIES)).stdout.split(/\r?\n/).slice(0, 5)).toEqual(all);
    },
  );
}

/** The exit code of a look at a path with what the user's Podman sees. */
async function nomadSees({ sandbox }: Environment<NomadUnderTest>, user: string, path: string): Promise<number> {
  const argv = ['podman', '--cgroup-manager=cgroupfs', 'unshare', 'ls', path];
  return (await sandbox.user(user).run(argv)).code;
}
