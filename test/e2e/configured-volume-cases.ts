import { chownSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Environment } from '../support/environment.ts';
import { aclsBelow } from '../support/leftovers.ts';
import type { JobSpec } from '../support/nomad/job.ts';
import type { NomadUnderTest } from '../support/nomad-under-test.ts';
import type { Sandbox } from '../support/sandbox.ts';
import { driverFailure, jobOf, runJob, shell } from './cases.ts';

/** The `host_volume` blocks that the cases need: two outside of the data dir, one in it. */
export function configuredVolumes(sandbox: Sandbox, dataDir: string): Record<string, string> {
  const outside = join(sandbox.directory, 'srv');
  mkdirSync(outside, { recursive: true });
  return { hers: join(outside, 'hers'), roots: join(outside, 'roots'), inside: join(dataDir, 'inside') };
}

/** The agent's configuration that they need: what it opens must be dynamic volumes alone. */
export const CONFIG = { volumes: 'acl' };

function jobWith(user: string, volume: string, id: string): JobSpec {
  const volumeMounts = [{ volume: 'files', destination: '/files' }];
  const volumes = [{ name: 'files', type: 'host', source: volume } as const];
  const script = 'echo kept >/files/x && cat /files/x; echo ended; exec sleep 1000';
  return { ...jobOf(user, id, shell('t', user, script, { volumeMounts })), volumes };
}

/** What holds of host volumes of the client's configuration, beside every Nomad. */
export function configuredVolumeCases(environment: () => Environment<NomadUnderTest>): void {
  const pathOf = (volume: string) => {
    const { sandbox, nomad } = environment();
    const path = configuredVolumes(sandbox, nomad.dataDir)[volume];
    if (path === undefined) throw new Error(`there is no volume ${volume}`);
    return path;
  };

  test('a container writes into a volume outside of the data dir that belongs to its user', async () => {
    const { nomad, sandbox } = environment();
    const { uid, gid } = sandbox.user('alice');
    chownSync(pathOf('hers'), uid, gid);
    const allocation = await runJob(nomad, jobWith('alice', 'hers', 'configured-hers'));
    await allocation.waitForLog('t', 'ended');
    expect(await allocation.logs('t')).toEqual(['kept', 'ended']);
    expect(statSync(join(pathOf('hers'), 'x')).uid).toBe(uid);
  });

  test('the permissions of a volume outside of the data dir stay as they are, and shut out whom they shut out', async () => {
    const { nomad } = environment();
    const path = pathOf('roots');
    const allocation = await runJob(nomad, jobWith('alice', 'roots', 'configured-roots'));
    await allocation.waitForLog('t', 'ended');
    await allocation.waitForLog('t', /Permission denied/); // by another pipe: it may come after
    expect(existsSync(join(path, 'x'))).toBe(false);
    expect(statSync(path)).toMatchObject({ uid: 0, gid: 0 });
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(await aclsBelow(path)).toEqual([]);
  });

  test('a volume in the data dir that is no dynamic one is not shown, and the job author is told', async () => {
    const { nomad, sandbox } = environment();
    const path = pathOf('inside');
    const { uid, gid } = sandbox.user('alice');
    chownSync(path, uid, gid);
    const allocation = await runJob(nomad, jobWith('alice', 'inside', 'configured-inside'));
    expect(await driverFailure(allocation, 't')).toMatch(
      /host volume inside is .*\/inside, in Nomad's data dir but not a directory of .*\/host_volumes: it is not shown/,
    );
    expect(await aclsBelow(path)).toEqual([]);
  });
}
