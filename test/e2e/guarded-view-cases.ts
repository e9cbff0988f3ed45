import { existsSync, lstatSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Environment } from '../support/environment.ts';
import type { NomadUnderTest } from '../support/nomad-under-test.ts';
import { IMAGE } from '../support/sandbox.ts';
import { until } from '../support/until.ts';
import { jobOf, runJob, shell } from './cases.ts';
import { Attacker } from './guarded-view-attacker.ts';
import { Victim } from './guarded-view-victim.ts';

/** An image with USER 1000: what it runs has a subordinate id of the user's on the host. */
export const USER_IMAGE = 'localhost/user:1';
/** Who acts in the container. */
export const CONTAINERS = [
  ['root', IMAGE],
  ['user 1000', USER_IMAGE],
] as const;

export const STAYS = 'exec sleep 1000';
/** Waits until the test has made /alloc/data/go. */
export const WAITS = 'until [ -e /alloc/data/go ]; do sleep 0.1; done';

/** What differs between the Nomads. */
export interface GuardedViewOptions {
  /** A real one renews no token earlier than some seconds before its end. */
  readonly identityTtlMs: number;
}

export async function buildUserImage({ sandbox }: Environment<NomadUnderTest>): Promise<void> {
  await sandbox.buildImage(sandbox.user('alice'), USER_IMAGE, { user: '1000' });
}

/** Each way in which a container, or its user, has become root on the host: by what root does by name in her allocation. */
export function rootByNameCases(
  environment: () => Environment<NomadUnderTest>,
  { identityTtlMs }: GuardedViewOptions,
): void {
  test.each(CONTAINERS)('logmon, which follows symlinks, finds none of a container as %s', async (who, image) => {
    const { nomad, sandbox } = environment();
    await buildUserImage(environment());
    const victim = new Victim(sandbox);
    const link = (directory: string) => `ln -s ${victim.file} ${directory}/t.stdout.1`;
    const prints = "yes $(seq -s ' ' 40) | head -c 1300000; echo; echo printed";
    const script = `${link('/alloc/logs')}; echo "linked $?"; ${WAITS}; ${prints}; ${STAYS}`;
    const logs = { maxFiles: 3, maxFileSizeMb: 1 };
    const job = jobOf('alice', `rotates-${who.replace(' ', '-')}`, shell('t', 'alice', script, { image, logs }));
    const allocation = await runJob(nomad, job);
    const linked = await allocation.waitForLog('t', /^linked/);
    const shared = join(allocation.directory, 'alloc');
    const byUser = await new Attacker(sandbox, 'alice').shell(link(`${shared}/logs`));
    const onHost = await sandbox.user('alice').run(['sh', '-c', link(`${shared}/logs`)]);
    writeFileSync(join(shared, 'data/go'), '');
    await until('the log goes on in its second file', () => statSync(join(shared, 'logs/t.stdout.1')).size > 1000);
    expect(victim.changes()).toEqual([]);
    await allocation.waitForLog('t', 'printed');
    expect(lstatSync(join(shared, 'logs/t.stdout.1')).isFile()).toBe(true);
    expect(linked).toBe('linked 1');
    expect(byUser).toMatch(/Read-only file system|Permission denied/);
    expect(onHost.stderr).toMatch(/Permission denied/);
  });

  test.each(CONTAINERS)(
    "Nomad's client, started again, builds nothing where a container as %s leads it",
    async (who, image) => {
      const { nomad, sandbox } = environment();
      await buildUserImage(environment());
      const victim = new Victim(sandbox);
      const swap = (directory: string) =>
        ['data', 'tmp', 'logs']
          .map(
            (name) =>
              `mv ${directory}/${name} ${directory}/old-${name} && ln -s ${victim.directory} ${directory}/${name}`,
          )
          .map((command) => `${command}; echo "swapped $?"`)
          .join('; ');
      // Not to the log, which Nomad does not give once its directory is another one.
      const script = `(${swap('/alloc')}; echo ended) >/local/outcome; ${STAYS}`;
      const task = shell('t', 'alice', script, { image });
      const allocation = await runJob(nomad, jobOf('alice', `rebuilt-${who.replace(' ', '-')}`, task));
      const swapped = () => readFileSync(join(allocation.directory, 't/local/outcome'), 'utf8').split('\n');
      await until('the container has tried', () => swapped().includes('ended'));
      await allocation.waitFor('running');
      const shared = join(allocation.directory, 'alloc');
      // Her own namespace may be without what covers the names there; the directories below are not Nomad's.
      const attacker = new Attacker(sandbox, 'alice');
      const attempted = await attacker.shell(`umount -l ${shared}/data ${shared}/tmp ${shared}/logs; ${swap(shared)}`);
      await nomad.restartClient();
      expect(victim.changes()).toEqual([]);
      for (const name of ['data', 'tmp', 'logs']) {
        const { mode, uid } = lstatSync(join(shared, name));
        expect({ name, mode: mode.toString(8), uid }).toEqual({ name, mode: '40777', uid: 65534 });
      }
      expect(attempted).toMatch(/swapped/);
      expect(swapped().slice(0, 3)).toEqual(Array(3).fill('swapped 1'));
      // The agent prepares the next container over what she has made of her own top of alloc/, or refuses it.
      await allocation.restart('t').catch(() => undefined);
      expect(victim.changes()).toEqual([]);
    },
  );

  test('the next allocation of a sticky disk builds nothing where a container leads it that mounts its task directory', async () => {
    const { nomad, sandbox } = environment();
    const victim = new Victim(sandbox);
    const swap = (directory: string) =>
      `mv ${directory}/local ${directory}/x && ln -s ${victim.directory} ${directory}/local`;
    const job = (script: string) => ({
      ...jobOf('alice', 'sticky', shell('t', 'alice', script, { user: '1000', volumes: ['./:/t'] })),
      keepsDisk: true,
    });
    const first = await runJob(nomad, job(`${swap('/t')}; echo "swapped $?"; ${STAYS}`));
    const swapped = await first.waitForLog('t', /^swapped/);
    const byUser = await new Attacker(sandbox, 'alice').shell(
      `umount -l ${first.directory}/t/local; setpriv --reuid 1000 sh -c '${swap(join(first.directory, 't'))}'`,
    );
    const next = await nomad.updateJob(first, job(`echo up; ${STAYS}`));
    onTestFinished(() => next.gc());
    // What the next task finds is of no matter; that its directories are built is.
    await until('its directories are built', () => existsSync(join(next.directory, 't/secrets/.nomad-mount')));
    expect(victim.changes()).toEqual([]);
    expect(swapped).toBe('swapped 1');
    expect(byUser).toMatch(/Read-only file system|Permission denied|resource busy/);
  });

  test("a user who holds a later task's directory before Nomad builds it leads the mount of its secrets nowhere", async () => {
    const { nomad, sandbox } = environment();
    const victim = new Victim(sandbox);
    const first = shell('first', 'alice', `echo up; ${WAITS}`, { lifecycle: { hook: 'prestart' } });
    const later = shell('later', 'alice', `echo up; ${STAYS}`);
    const allocation = await runJob(nomad, jobOf('alice', 'raced', first, later));
    await allocation.waitForLog('first', 'up');
    const race = new Attacker(sandbox, 'alice').race({
      directory: join(allocation.directory, 'later'),
      name: 'secrets',
      victim: victim.directory,
      seconds: 8,
    });
    await race.hasBegun();
    writeFileSync(join(allocation.directory, 'alloc/data/go'), '');
    const outcome = await race.outcome();
    expect(victim.changes()).toEqual([]);
    expect(outcome).toMatch(/^(open: E\w+|handle: E\w+, cwd: E\w+, beside: (EROFS|EACCES|EPERM))$/);
    await allocation.waitForLog('later', 'up');
    expect(lstatSync(join(allocation.directory, 'later/secrets')).isDirectory()).toBe(true);
  });

  test.each(CONTAINERS)('the renewal of a token follows no symlink of a container as %s', async (who, image) => {
    const { nomad, sandbox } = environment();
    await buildUserImage(environment());
    const victim = new Victim(sandbox);
    const swap = (directory: string) =>
      `rm ${directory}/nomad_lab.jwt && ln -s ${victim.file} ${directory}/nomad_lab.jwt; echo "swapped $?"`;
    const task = shell('t', 'alice', `${swap('/secrets')}; ${STAYS}`, {
      image,
      identity: { name: 'lab', ttlMs: identityTtlMs },
    });
    const allocation = await runJob(nomad, jobOf('alice', `renewed-${who.replace(' ', '-')}`, task));
    const swapped = await allocation.waitForLog('t', /^swapped/);
    const secrets = join(allocation.directory, 't/secrets');
    const byUser = await new Attacker(sandbox, 'alice').shell(
      `umount -l ${secrets}; setpriv --reuid 1000 sh -c '${swap(secrets)}'`,
    );
    const { mtimeMs } = statSync(join(secrets, 'nomad_lab.jwt'));
    await until(
      'the token is renewed',
      () => statSync(join(secrets, 'nomad_lab.jwt')).mtimeMs > Math.max(mtimeMs, Date.now() - 1000),
      identityTtlMs * 2,
    );
    expect(victim.changes()).toEqual([]);
    expect(swapped).toBe('swapped 1');
    expect(byUser).toMatch(/swapped 1/);
  });

  test('the renewal of a token that the job puts into local/ follows no symlink of the container', async () => {
    const { nomad, sandbox } = environment();
    const victim = new Victim(sandbox);
    const task = shell('t', 'alice', `ln -sf ${victim.file} /local/token; echo "linked $?"; ${STAYS}`, {
      identity: { name: 'lab', ttlMs: identityTtlMs, filepath: 'local/token' },
    });
    const allocation = await runJob(nomad, jobOf('alice', 'renewed-in-local', task));
    // A job that has root write there may as well be refused.
    const isOver = async () => (await allocation.events('t')).some(({ Type }) => Type === 'Driver Failure');
    await until('it runs or is refused', async () => (await isOver()) || (await allocation.logs('t')).length > 0);
    await new Promise((resolve) => setTimeout(resolve, identityTtlMs));
    expect(victim.changes()).toEqual([]);
  });
}
