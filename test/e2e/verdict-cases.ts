import { expect, test } from 'vitest';
import type { Environment } from '../support/environment.ts';
import type { NomadUnderTest } from '../support/nomad-under-test.ts';
import { driverFailure, jobOf, runJob, shell } from './cases.ts';

const STAYS = 'echo up; exec sleep 1000';

/** What the gate makes of what a job names of the host and of other containers, beside every Nomad. */
export function verdictCases(environment: () => Environment<NomadUnderTest>): void {
  test('security_opt = ["seccomp=unconfined"] is done', async () => {
    const { nomad } = environment();
    const script = 'grep ^Seccomp: /proc/self/status; exec sleep 1000';
    const allocation = await runJob(
      nomad,
      jobOf('alice', 'unconfined', shell('t', 'alice', script, { seccomp: 'unconfined' })),
    );
    await allocation.waitForLog('t', 'Seccomp:\t0');
  });

  test('a job that mounts / is refused, and the job author is told what to do', async () => {
    const { nomad } = environment();
    const allocation = await runJob(
      nomad,
      jobOf('alice', 'root', shell('t', 'alice', STAYS, { volumes: ['/:/host:ro'] })),
    );
    expect(await driverFailure(allocation, 't')).toMatch(
      /status code: 403: .*leads to \/, which holds .*host_paths: all in the policy/,
    );
  });

  test('a job that mounts what a container has made a symlink out of the allocation is refused', async () => {
    const { nomad } = environment();
    const first = shell('first', 'alice', `ln -s / /alloc/data/out; ${STAYS}`);
    const second = shell('second', 'alice', STAYS, {
      volumes: ['../alloc/data/out:/host'],
      lifecycle: { hook: 'poststart', sidecar: true },
    });
    const allocation = await runJob(nomad, jobOf('alice', 'link', first, second));
    expect(await driverFailure(allocation, 'second')).toMatch(
      /status code: 403: .*leads out of the allocation's directory by a symlink/,
    );
  });

  test("a task joins the IPC namespace of a task of its own allocation, and of no other's", async () => {
    const { nomad } = environment();
    const first = shell('first', 'alice', `echo shared >/dev/shm/x; ${STAYS}`);
    const joining = (ipcMode: string) =>
      shell('second', 'alice', 'cat /dev/shm/x; exec sleep 1000', {
        ipcMode,
        lifecycle: { hook: 'poststart', sidecar: true },
      });
    const own = await runJob(nomad, jobOf('alice', 'ipc-own', first, joining('task:first')));
    await own.waitForLog('second', 'shared');
    const other = await runJob(nomad, jobOf('alice', 'ipc-other', first, joining(`container:first-${own.id}`)));
    expect(await driverFailure(other, 'second')).toMatch(
      /status code: 403: .*ipcns is container .*not one of allocation/,
    );
  });
}
