import { chmodSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Environment } from '../support/environment.ts';
import type { NomadUnderTest } from '../support/nomad-under-test.ts';
import { jobOf, runJob, shell } from './cases.ts';

/** Lets users of other drivers pass the data dir: at 0700 Nomad itself cannot start the task of a user. */
export function openDataDir<N extends NomadUnderTest>(nomad: N): N {
  chmodSync(nomad.dataDir, 0o711);
  return nomad;
}

/** What holds of tasks of other drivers beside containers, with every Nomad, where users may pass the data dir. */
export function otherDriverCases(environment: () => Environment<NomadUnderTest>): void {
  test("a raw_exec task of another user works beside alice's container, and shares with it /alloc alone", async () => {
    const { nomad } = environment();
    const main = shell(
      't',
      'alice',
      'echo hers >/alloc/data/x; echo own >/local/x; until cat /alloc/data/raw; do sleep 0.1; done; exec sleep 1000',
    );
    // Once her container runs, the allocation is locked.
    const script =
      'cd "$NOMAD_ALLOC_DIR/data" && id -un && echo raw >raw; until cat x; do sleep 0.1; done; cat ../../t/local/x; echo ended; exec sleep 1000';
    const raw = { name: 'raw', driver: 'raw_exec', user: 'bob', command: '/bin/sh', args: ['-c', script] };
    const allocation = await runJob(nomad, jobOf('alice', 'mixed', main, raw));
    await allocation.waitForLog('t', 'raw');
    await allocation.waitForLog('raw', 'ended');
    const lines = await allocation.logs('raw');
    expect(lines[0]).toBe('bob');
    expect(lines).toContain('hers');
    expect(lines).not.toContain('own');
    expect(lines).toContainEqual(expect.stringMatching(/Permission denied/));
  });

  test('a user on the host reaches no allocation through the data dir, not her own either, and her Podman reaches hers', async () => {
    const { nomad, sandbox } = environment();
    const script = 'echo hers >/alloc/data/x && echo up; exec sleep 1000';
    const allocation = await runJob(nomad, jobOf('alice', 'shut', shell('t', 'alice', script)));
    await allocation.waitForLog('t', 'up');
    const read = async (user: string, ...within: string[]) =>
      (await sandbox.user(user).run([...within, 'cat', `${allocation.directory}/alloc/data/x`])).stdout;
    expect([await read('alice'), await read('bob')]).toEqual(['', '']);
    expect(await read('alice', 'podman', '--cgroup-manager=cgroupfs', 'unshare')).toBe('hers\n');
  });
}
