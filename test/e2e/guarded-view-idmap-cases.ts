import { copyFileSync, lstatSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Environment } from '../support/environment.ts';
import type { NomadUnderTest } from '../support/nomad-under-test.ts';
import { jobOf, runJob, shell } from './cases.ts';
import { Attacker } from './guarded-view-attacker.ts';
import { buildUserImage, STAYS, USER_IMAGE, WAITS } from './guarded-view-cases.ts';
import { Victim } from './guarded-view-victim.ts';

/** Where the ids of a container are those on the disk: local/ and secrets/. */
export function idmapCases(environment: () => Environment<NomadUnderTest>): void {
  test('what containers write to local/ lies on the disk under the ids that they have inside', async () => {
    const { nomad } = environment();
    await buildUserImage(environment());
    const writes = `echo written >/local/own; mkdir /local/directory; echo up; ${STAYS}`;
    const byRoot = `${writes.replace('echo up', 'echo of-1000 >/local/given; chown 1000:1000 /local/given; echo up')}`;
    const tasks = [
      shell('root', 'alice', byRoot),
      shell('user', 'alice', writes, { image: USER_IMAGE }),
      shell('as-user', 'alice', writes, { user: '1000:1000' }),
    ];
    const allocation = await runJob(nomad, jobOf('alice', 'on-disk', ...tasks));
    for (const { name } of tasks) await allocation.waitForLog(name, 'up');
    const owner = (path: string) => {
      const { uid, gid } = lstatSync(join(allocation.directory, path));
      return `${uid}:${gid}`;
    };
    for (const name of ['own', 'directory']) {
      expect(owner(`root/local/${name}`)).toBe('0:0');
      expect(owner(`user/local/${name}`)).toMatch(/^1000:/);
      expect(owner(`as-user/local/${name}`)).toBe('1000:1000');
    }
    expect(owner('root/local/given')).toBe('1000:1000');
    // As `nomad alloc fs` reads it, which is root on the host.
    expect(await allocation.readFile('user/local/own')).toBe('written\n');
    expect(await allocation.readFile('root/local/given')).toBe('of-1000\n');
  });

  test('what containers write to alloc/data, which is shared with all drivers, lies there under the ids of their user', async () => {
    const { nomad, sandbox } = environment();
    await buildUserImage(environment());
    const writes = (name: string) => `echo written >/alloc/data/${name}; echo up; ${STAYS}`;
    const tasks = [
      shell('root', 'alice', writes('root')),
      shell('user', 'alice', writes('user'), { image: USER_IMAGE }),
    ];
    const allocation = await runJob(nomad, jobOf('alice', 'on-disk-shared', ...tasks));
    for (const { name } of tasks) await allocation.waitForLog(name, 'up');
    const { uid, subordinateStart } = sandbox.user('alice');
    const owner = (name: string) => lstatSync(join(allocation.directory, 'alloc/data', name)).uid;
    expect([owner('root'), owner('user')]).toEqual([uid, subordinateStart + 999]);
  });

  test.each(['local', 'alloc/data'])(
    'a setuid program that a container makes in %s gives nobody other ids',
    async (place) => {
      const { nomad, sandbox } = environment();
      const victim = new Victim(sandbox);
      const isShared = place === 'alloc/data';
      // The image has no program that keeps its ids when it is not setuid; the host's does. The container makes it its own.
      const made = 'cp /local/id /made/su && chmod 6755 /made/su && rm /local/id; echo "made $?"';
      const script = `${WAITS}; ${made.replaceAll('/made/', `/${place}/`)}; ${STAYS}`;
      const task = (user: string, text: string) =>
        shell(`of-${user}`, user, text, { meta: { podman_user: user }, volumes: ['./:/t'] });
      const id = `setuid-${isShared ? 'shared' : 'own'}`;
      const allocation = await runJob(
        nomad,
        jobOf(undefined, id, task('alice', script), task('bob', `echo up; ${STAYS}`)),
      );
      await allocation.waitForLog('of-bob', 'up');
      await allocation.waitFor('running');
      copyFileSync('/usr/bin/id', join(allocation.directory, 'of-alice/local/id'));
      writeFileSync(join(allocation.directory, 'alloc/data/go'), '');
      expect(await allocation.waitForLog('of-alice', /^made/)).toBe('made 0');
      const onDisk = join(allocation.directory, isShared ? place : `of-alice/${place}`, 'su');
      const { mode, uid } = lstatSync(onDisk);
      expect({ mode: mode.toString(8), uid }).toEqual({
        mode: '106755',
        uid: isShared ? sandbox.user('alice').uid : 0,
      });
      for (const user of ['alice', 'bob']) {
        const doors = ['', '/of-alice', '/of-alice/local', '/alloc', '/alloc/data'].map(
          (name) => allocation.directory + name,
        );
        const attempts = await new Attacker(sandbox, user).sweep({ doors, victim: victim.directory, run: 'su' });
        const runs = attempts.filter(({ act, seen }) => act === 'run' && seen !== undefined && seen !== '');
        const isItself = ({ actor, seen }: (typeof runs)[number]) =>
          /^E[A-Z]+$/.test(seen ?? '') || seen === String(actor === 'host' ? sandbox.user(user).uid : actor);
        expect(runs.filter((attempt) => !isItself(attempt))).toEqual([]);
        // It was run at all where it can be seen: by her, and by him where it is shared.
        const isSeen = user === 'alice' || isShared;
        expect(runs.some(({ seen, actor }) => actor === 1000 && seen === '1000')).toBe(isSeen);
      }
      for (const name of ['alice', 'bob']) {
        const { stdout } = await sandbox
          .user(name)
          .run([onDisk, '-u'])
          .catch(() => ({ stdout: '' }));
        expect(stdout).toBe('');
      }
    },
  );
}
