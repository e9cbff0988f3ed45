import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cpuSecondsOf } from '../support/cpu-seconds.ts';
import type { Environment } from '../support/environment.ts';
import type { NomadUnderTest } from '../support/nomad-under-test.ts';
import { TIME_SCALE } from '../support/time-scale.ts';
import { jobOf, runJob, shell } from './cases.ts';
import { Attacker, type Attempt, IDS } from './guarded-view-attacker.ts';
import { buildUserImage, STAYS, USER_IMAGE } from './guarded-view-cases.ts';
import { guardedEntries, Victim } from './guarded-view-victim.ts';

const FIFOS = 40_000;
/** For what the agent runs until it answers, in seconds of CPU; with a look at each FIFO it was more than two. */
const MOST_STANDSTILL = TIME_SCALE;

/** What holds whatever id, handle and mount namespace a user acts with. */
export function everyHandleCases(environment: () => Environment<NomadUnderTest>): void {
  test('nothing changes where root looks up names, whatever of her view a user opens and writes to', async () => {
    const { nomad, sandbox } = environment();
    await buildUserImage(environment());
    const victim = new Victim(sandbox);
    const more = { secrets: { token: 'kept' }, volumes: ['./:/t'] };
    const tasks = [
      shell('t', 'alice', `echo up; ${STAYS}`, more),
      shell('u', 'alice', `echo up; ${STAYS}`, { ...more, image: USER_IMAGE }),
    ];
    const allocation = await runJob(nomad, jobOf('alice', 'swept', ...tasks));
    for (const { name } of tasks) await allocation.waitForLog(name, 'up');
    await allocation.waitFor('running');
    const names = tasks.map(({ name }) => name);
    const before = guardedEntries(nomad.allocDir, allocation.id, names);
    const attempts = await new Attacker(sandbox, 'alice').sweep({
      doors: [nomad.allocDir, allocation.directory, ...known(allocation.directory, names)],
      victim: victim.directory,
    });
    expect(victim.changes()).toEqual([]);
    expect(guardedEntries(nomad.allocDir, allocation.id, names)).toEqual(before);
    expectAttempted(attempts, join(allocation.directory, 'alloc/data'));
    const remounted = attempts.filter(({ act, outcome }) => act === 'remount' && outcome === 'ok');
    expect(remounted.filter(({ door }) => `${door}/`.startsWith(`${nomad.dataDir}/`))).toEqual([]);
    // Her tasks go on, and so does what Nomad and the agent do for them.
    await allocation.restart('u');
    await nomad.restartClient();
    expect(victim.changes()).toEqual([]);
  });

  test("a user reads nothing of another one's tasks in their allocation, and changes nothing there", async () => {
    const { nomad, sandbox } = environment();
    const victim = new Victim(sandbox);
    const task = (user: string) =>
      shell(`of-${user}`, user, `echo ${user}s >/local/own; echo up; ${STAYS}`, {
        meta: { podman_user: user },
        secrets: { token: `secret-of-${user}` },
      });
    const allocation = await runJob(nomad, jobOf(undefined, 'swept-by-both', task('alice'), task('bob')));
    const names = ['of-alice', 'of-bob'];
    for (const name of names) await allocation.waitForLog(name, 'up');
    const before = guardedEntries(nomad.allocDir, allocation.id, names);
    for (const [user, other] of [
      ['alice', 'bob'],
      ['bob', 'alice'],
    ] as const) {
      const own = join(allocation.directory, `of-${user}/local`);
      const attempts = await new Attacker(sandbox, user).sweep({
        doors: [allocation.directory, own, ...known(allocation.directory, [`of-${other}`])],
        victim: victim.directory,
      });
      expect(attempts.filter(({ seen }) => new RegExp(`secret-of-${other}|${other}s`).test(seen ?? ''))).toEqual([]);
      expectAttempted(attempts, own);
    }
    expect(guardedEntries(nomad.allocDir, allocation.id, names)).toEqual(before);
    expect(victim.changes()).toEqual([]);
  });

  test("a user leads the Podman of another one nowhere by the names at the top of their allocation's alloc/", async () => {
    const { nomad, sandbox } = environment();
    const bob = sandbox.user('bob');
    const precious = join(bob.home, 'precious');
    await bob.run(['sh', '-c', `umask 077; echo precious >${precious}`]);
    const task = (user: string) =>
      shell(`of-${user}`, user, `echo up; ls /alloc/data; ${STAYS}`, { meta: { podman_user: user } });
    const allocation = await runJob(nomad, jobOf(undefined, 'led', task('alice'), task('bob')));
    for (const name of ['of-alice', 'of-bob']) await allocation.waitForLog(name, 'up');
    await allocation.waitFor('running');
    const shared = join(allocation.directory, 'alloc');
    const attempted = await new Attacker(sandbox, 'alice').replace(shared, {
      logs: { '.of-bob.stdout.fifo': precious },
      data: {},
    });
    await allocation.restart('of-bob');
    expect(readFileSync(precious, 'utf8')).toBe('precious\n');
    expect(attempted).toMatch(/^logs: \w+\ndata: \w+\n$/);
    const { stdout } = await allocation.exec('of-bob', ['/bin/sh', '-c', 'echo own >/alloc/data/own; echo done']);
    expect(stdout).toContain('done');
    expect(await allocation.readFile('alloc/data/own')).toBe('own\n');
  });

  test('a user reaches nothing of an allocation that is not hers, be it one that is not locked', async () => {
    const { nomad, sandbox } = environment();
    const victim = new Victim(sandbox);
    const script =
      'echo of-raw >secrets/token; echo of-raw >local/own; echo of-raw >../alloc/data/own; echo up; sleep 1000';
    const raw = { name: 'raw', driver: 'raw_exec', command: '/bin/sh', args: ['-c', script] };
    const others = await runJob(nomad, { id: 'raw', tasks: [raw] });
    await others.waitForLog('raw', 'up');
    const allocation = await runJob(nomad, jobOf('alice', 'beside-raw', shell('t', 'alice', `echo up; ${STAYS}`)));
    await allocation.waitForLog('t', 'up');
    const before = guardedEntries(nomad.allocDir, others.id, ['raw']);
    const doors = [nomad.dataDir, nomad.allocDir, others.directory, ...known(others.directory, ['raw'])];
    const own = join(allocation.directory, 'alloc/data');
    const attempts = await new Attacker(sandbox, 'alice').sweep({ doors: [...doors, own], victim: victim.directory });
    expect(attempts.filter(({ seen }) => seen?.includes('of-raw'))).toEqual([]);
    expect(guardedEntries(nomad.allocDir, others.id, ['raw'])).toEqual(before);
    expect(attempts).toContainEqual(expect.objectContaining({ door: others.directory, act: 'open' }));
    expectAttempted(attempts, own);
    expect(victim.changes()).toEqual([]);
  });

  test('the agent does not stand still, however many FIFOs a container makes', async () => {
    const { nomad, agent } = environment();
    const fill = (directory: string) =>
      `seq ${FIFOS} | sed 's|.*|${directory}/.x&.stdout.fifo|' | xargs mkfifo -m 600 2>&1 | tail -n 1; ls -A ${directory} | grep -c x; echo filled`;
    const filled = ['/alloc/logs', '/alloc'];
    const task = shell('t', 'alice', `${filled.map(fill).join('; ')}; ${STAYS}`);
    const other = shell('u', 'alice', `echo up; ${STAYS}`);
    const allocation = await runJob(nomad, jobOf('alice', 'filled', task, other));
    await allocation.waitForLog('t', new RegExp(`^${FIFOS}$`));
    await expect
      .poll(async () => (await allocation.logs('t')).filter((line) => line === 'filled').length, { timeout: 30_000 })
      .toBe(filled.length);
    let longest = 0;
    // It looks at the FIFOs of what runs, and at those of what has ended.
    const over = allocation
      .restart('u')
      .then(() => allocation.stop())
      .then(() => wait(1000))
      .then(() => true);
    while (!(await Promise.race([over, wait(5)]))) {
      const before = cpuSecondsOf(agent.pid);
      await agent.livez();
      longest = Math.max(longest, cpuSecondsOf(agent.pid) - before);
    }
    expect(longest).toBeLessThan(MOST_STANDSTILL);
    expect(await allocation.logs('t')).toContainEqual(expect.stringContaining('Read-only file system'));
  });
}

/** Where Nomad has something, should a listing not tell. */
function known(directory: string, tasks: readonly string[]): string[] {
  const shared = ['alloc', 'alloc/logs', 'alloc/data', 'alloc/tmp'];
  const own = tasks.flatMap((task) => ['', '/local', '/secrets', '/private', '/tmp'].map((name) => `${task}${name}`));
  return [...shared, ...own].map((name) => join(directory, name));
}

/** That the attempts were made at all: each id, in each way, wrote where all may write. */
function expectAttempted(attempts: readonly Attempt[], open: string): void {
  const wrote = (via: Attempt['via'], actor: Attempt['actor']) =>
    attempts.some(
      (attempt) =>
        attempt.via === via &&
        attempt.actor === actor &&
        attempt.act === 'file' &&
        attempt.outcome === 'ok' &&
        attempt.door === open,
    );
  const ways = IDS.flatMap((id) => (['handle', 'cwd', 'passed', 'uncovered'] as const).map((via) => ({ via, id })));
  expect(ways.filter(({ via, id }) => !wrote(via, id))).toEqual([]);
  expect(wrote('host', 'host')).toBe(true);
}

function wait(milliseconds: number): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), milliseconds));
}
