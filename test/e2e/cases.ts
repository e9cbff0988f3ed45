import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Environment } from '../support/environment.ts';
import { aclsBelow, mountsBelow, socketsBelow } from '../support/leftovers.ts';
import type { JobSpec, TaskSpec } from '../support/nomad/job.ts';
import type { AllocationUnderTest, NomadUnderTest } from '../support/nomad-under-test.ts';
import { IMAGE } from '../support/sandbox.ts';
import { until } from '../support/until.ts';

/** A task that runs a shell script in the user's Podman. */
export function shell(name: string, socket: string, script: string, more: Partial<TaskSpec> = {}): TaskSpec {
  return { name, socket, image: IMAGE, command: '/bin/sh', args: ['-c', script], ...more };
}

/** A job of a user with these tasks; ids of jobs are names of their own in every case. */
export function jobOf(user: string | undefined, id: string, ...tasks: TaskSpec[]): JobSpec {
  return { id, ...(user === undefined ? {} : { meta: { podman_user: user } }), tasks };
}

/** Runs a job's allocation, which goes with the test. */
export async function runJob(nomad: NomadUnderTest, job: JobSpec): Promise<AllocationUnderTest> {
  const allocation = await nomad.runJob(job);
  onTestFinished(() => allocation.gc());
  return allocation;
}

/** What the job author sees of a task that the driver could not start. */
export async function driverFailure(allocation: AllocationUnderTest, task: string): Promise<string> {
  await allocation.waitFor('failed');
  const failure = (await allocation.events(task)).find(({ Type }) => Type === 'Driver Failure');
  return failure?.DriverError ?? 'no Driver Failure';
}

/**
 * Everything of ours that is left on the host and in any mount namespace, in words. slirp4netns is passed over: it has a
 * copy of the mounts for itself, gone with it, and a Podman that was pulled down leaves it running.
 */
export async function leftovers({ sandbox, nomad }: Environment): Promise<string[]> {
  const mounts = [...mountsBelow(nomad.dataDir), ...mountsBelow(join(sandbox.directory, 'agent'))].filter(
    ({ pid }) => !commandOf(pid).includes('slirp4netns'),
  );
  return [
    ...mounts.map(
      ({ mountPoint, namespace, pid }) => `mount ${mountPoint} in ${namespace} (process ${pid}: ${commandOf(pid)})`,
    ),
    ...(await aclsBelow(nomad.dataDir)).map((acl) => `acl ${acl}`),
  ];
}

/** Waits until nothing of ours is left. @throws the assertion that names what is */
export async function expectNothingLeft(environment: Environment): Promise<void> {
  await until('nothing is left', async () => (await leftovers(environment)).length === 0).catch(() => undefined);
  expect(await leftovers(environment)).toEqual([]);
}

function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
}

/** Sockets of the agent that are there. */
export function agentSockets({ sandbox }: Environment): string[] {
  return socketsBelow(join(sandbox.directory, 'agent'));
}

const WRITES_EVERYWHERE =
  'echo "$(id -u)"; echo data >/alloc/data/x && cat /alloc/data/x; echo local >/local/y && cat /local/y; echo "$(cat /secrets/tpl)"; echo ended; exec sleep 1000';

/** The cases that hold with every Nomad. */
export function basicCases(environment: () => Environment<NomadUnderTest>): void {
  test('a container writes to /alloc and /local, reads /secrets, and its log lines arrive', async () => {
    const { nomad } = environment();
    const task = shell('t', 'alice', WRITES_EVERYWHERE, { secrets: { tpl: 'secret' } });
    const allocation = await runJob(nomad, jobOf('alice', 'writes', task));
    await allocation.waitFor('running');
    await allocation.waitForLog('t', 'ended');
    expect(await allocation.logs('t')).toEqual(['0', 'data', 'local', 'secret', 'ended']);
  });

  test('an image with USER 1000 keeps its uid and writes too', async () => {
    const { nomad, sandbox } = environment();
    await sandbox.buildImage(sandbox.user('alice'), 'localhost/user:1', { user: '1000' });
    const task = shell('t', 'alice', WRITES_EVERYWHERE, { secrets: { tpl: 'secret' }, image: 'localhost/user:1' });
    const allocation = await runJob(nomad, jobOf('alice', 'user-1000', task));
    await allocation.waitForLog('t', 'ended');
    expect(await allocation.logs('t')).toEqual(['1000', 'data', 'local', 'secret', 'ended']);
  });

  test('two tasks of one allocation share /alloc, the second started later', async () => {
    const { nomad } = environment();
    const first = shell('first', 'alice', 'echo shared >/alloc/data/x; exec sleep 1000');
    const second = shell('second', 'alice', 'until cat /alloc/data/x; do sleep 0.1; done; exec sleep 1000', {
      lifecycle: { hook: 'poststart', sidecar: true },
    });
    const allocation = await runJob(nomad, jobOf('alice', 'two-tasks', first, second));
    await allocation.waitForLog('second', 'shared');
  });

  test('a poststop task still has access', async () => {
    const { nomad } = environment();
    const main = shell('main', 'alice', 'echo result >/alloc/data/x; exec sleep 1000');
    const after = shell('after', 'alice', 'cat /alloc/data/x', { lifecycle: { hook: 'poststop' } });
    const allocation = await runJob(nomad, jobOf('alice', 'poststop', main, after));
    await allocation.waitFor('running');
    await allocation.stop();
    await allocation.waitForLog('after', 'result');
  });

  test("two users run side by side, and neither reads what is the other's", async () => {
    const { nomad, sandbox } = environment();
    const script = (user: string) => `echo ${user} >/alloc/data/x; echo ready; exec sleep 1000`;
    const allocations = await Promise.all(
      ['alice', 'bob'].map((user) => runJob(nomad, jobOf(user, `of-${user}`, shell('t', user, script(user))))),
    );
    await Promise.all(allocations.map((allocation) => allocation.waitForLog('t', 'ready')));
    for (const [index, name] of ['alice', 'bob'].entries()) {
      const seen = await Promise.all(
        allocations.map(async ({ directory }) => {
          const argv = ['podman', '--cgroup-manager=cgroupfs', 'unshare', 'cat', `${directory}/alloc/data/x`];
          return (await sandbox.user(name).run(argv)).stdout.trim();
        }),
      );
      expect(seen).toEqual(['alice', 'bob'].map((owner, at) => (at === index ? owner : '')));
    }
  });

  test("a socket that is another user's than podman_user says is refused, and the job author is told", async () => {
    const { nomad } = environment();
    const allocation = await runJob(nomad, jobOf('bob', 'mismatch', shell('t', 'alice', 'true')));
    expect(await driverFailure(allocation, 't')).toMatch(
      /status code: 403: .*nomad-rootless: task t of allocation .* has podman_user = ..?bob.*set socket = /,
    );
  });

  test('a job without podman_user is refused, and the job author is told what to write', async () => {
    const { nomad } = environment();
    const allocation = await runJob(nomad, jobOf(undefined, 'no-meta', shell('t', 'alice', 'true')));
    expect(await driverFailure(allocation, 't')).toMatch(
      /nomad-rootless: allocation .* has no podman_user in its meta; add meta \{ podman_user = /,
    );
  });

  test('exec through the gate works both ways', async () => {
    const { nomad } = environment();
    const allocation = await runJob(nomad, jobOf('alice', 'exec', shell('t', 'alice', 'echo up; exec sleep 1000')));
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    const { stdout, exitCode } = await allocation.exec(
      't',
      ['/bin/sh', '-c', 'read x; echo "$x" | tr a-z A-Z; exit 3'],
      'hello\n',
    );
    expect({ stdout: stdout.trim(), exitCode }).toEqual({ stdout: 'HELLO', exitCode: 3 });
  });

  test('the agent killed and started again leaves the container running and goes on', async () => {
    const { nomad, agent } = environment();
    const allocation = await runJob(nomad, jobOf('alice', 'survivor', shell('t', 'alice', 'echo up; exec sleep 1000')));
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    await agent.stop('SIGKILL');
    await agent.start();
    const { stdout } = await allocation.exec('t', ['/bin/sh', '-c', 'echo alive; echo more >/alloc/data/x']);
    expect(stdout.trim()).toBe('alive');
    expect((await allocation.events('t')).map(({ Type }) => Type)).not.toContain('Terminated');
  });

  test('many allocations at once are all served, none of them late', async () => {
    const { nomad, agent } = environment();
    const run = (_: unknown, index: number) => {
      const user = index % 2 ? 'bob' : 'alice';
      return runJob(nomad, jobOf(user, `many-${index}`, shell('t', user, 'echo up >/alloc/data/x; exec sleep 1000')));
    };
    const allocations = await Promise.all(Array.from({ length: 20 }, run));
    await Promise.all(allocations.map((allocation) => allocation.waitFor('running')));
    expect(await agent.metric('nomad_rootless_late_preparations_total')).toBe(0);
  });

  nothingLeftCase(environment);
}

/** Comes last: nothing of ours is left of what other cases did. */
export function nothingLeftCase(environment: () => Environment<NomadUnderTest>): void {
  test('nothing is left once the allocations are gone', async () => {
    await expectNothingLeft(environment());
  });
}
