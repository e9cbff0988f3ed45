import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Access, Desired } from '../../src/model/desired.ts';
import { AllocationAclResource } from '../../src/resources/allocation-acl.ts';
import { accessOf } from '../support/access-of.ts';
import { PodmanLikeProcess } from '../support/podman-like-process.ts';
import { requires } from '../support/requires.ts';
import { type ViewParts, viewParts } from '../support/view-parts.ts';

const ALICE = 61001;
const BOB = 61002;
const NOBODY = 65534;
const ID = '11111111-2222-3333-4444-555555555555';

/** Each of these passes where the attack fails. Nomad's own root acts on paths in a task directory: it must not be alice's to shape. */
requires('root', 'sandbox')('a user with a view of her allocation', () => {
  let base: string;
  let allocDir: string;
  let parts: ViewParts;
  let acl: AllocationAclResource;
  let alice: PodmanLikeProcess;

  beforeEach(async () => {
    base = mkdtempSync('/tmp/attack-');
    chmodSync(base, 0o755);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', base]);
    execFileSync('mount', ['--make-shared', base]);
    allocDir = join(base, 'data/alloc');
    mkdirSync(allocDir, { recursive: true });
    chmodSync(allocDir, 0o711);
    chmodSync(join(base, 'data'), 0o700);
    mkdirSync(join(base, String(ALICE)), { mode: 0o700 });
    chownSync(join(base, String(ALICE)), ALICE, ALICE);
    mkdirSync(join(base, 'etc'), { mode: 0o755 });
    writeFileSync(join(base, 'etc/shadow'), 'root', { mode: 0o600 });
    alice = await PodmanLikeProcess.start(ALICE, join(base, String(ALICE), 'podman.sock'));
    // Her Podman is there before the allocation, and what mounts it takes from the host is hers to say.
    await alice.run('mount --make-rprivate /');
    buildAllocation();
    buildTask('t');
    const owner = { name: 'alice', uid: ALICE, gid: ALICE, socket: alice.socket };
    parts = viewParts(base, join(base, 'data'), [owner]);
    acl = new AllocationAclResource(parts.dataDir);
  });

  afterEach(async () => {
    await alice.stop();
    parts[Symbol.dispose]();
    execFileSync('umount', ['-R', '-l', base]);
    rmSync(base, { recursive: true });
  });

  /** As allocMkdirAll in Nomad's client/allocdir. */
  function allocMkdirAll(path: string, mode: number): void {
    mkdirSync(path, { recursive: true });
    chmodSync(path, mode | 0o777);
    chownSync(path, NOBODY, NOBODY);
  }

  function buildAllocation(): void {
    mkdirSync(join(allocDir, ID), { mode: 0o755 });
    allocMkdirAll(join(allocDir, ID, 'alloc'), 0o755);
    for (const name of ['logs', 'tmp', 'data']) allocMkdirAll(join(allocDir, ID, 'alloc', name), 0o777);
  }

  /** As TaskDir.Build in Nomad's client/allocdir. */
  function buildTask(task: string): void {
    for (const path of ['.', 'local']) allocMkdirAll(join(allocDir, ID, task, path), 0o777);
    makeSecretsDir(task);
  }

  /** As createSecretDir and dropDirPermissions there: at the start and again at each restart of a task. */
  function makeSecretsDir(task: string): void {
    const path = join(allocDir, ID, task, 'secrets');
    mkdirSync(path, { recursive: true });
    if (statSync(join(path, '.nomad-mount'), { throwIfNoEntry: false })) return;
    execFileSync('mount', ['-i', '-c', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path]);
    writeFileSync(join(path, '.nomad-mount'), '');
    chmodSync(path, 0o777);
    chownSync(path, NOBODY, NOBODY);
  }

  /** @param shown what of it is shown to users: bob has no Podman here */
  async function settle(desired: Desired, shown = desired): Promise<void> {
    for (let round = 0; round < 3; round++) for (const step of await acl.plan(desired)) await step.apply();
    for (let round = 0; round < 3; round++) for (const step of await parts.view.plan(shown)) await step.apply();
  }

  const asAlice = (script: string) =>
    execFileSync('setpriv', ['--reuid', `${ALICE}`, '--regid', `${ALICE}`, '--clear-groups', 'sh', '-c', script], {
      encoding: 'utf8',
      stdio: 'pipe',
    });

  test('cannot have Nomad mount and open up a directory of her choice at the next restart of her task', async () => {
    await settle(access(one('alice', ALICE, 't')));
    const t = `${allocDir}/${ID}/t`;
    await alice.run(`umount -l ${t}/secrets; mv ${t}/secrets ${t}/old && ln -s ${base}/etc ${t}/secrets`);
    makeSecretsDir('t');
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(` ${base}/etc `);
    expect(statSync(join(base, 'etc')).mode & 0o7777).toBe(0o755);
    expect(() => asAlice(`echo 'auth sufficient pam_permit.so' > ${base}/etc/pam`)).toThrow();
  });

  test('cannot have Nomad unmount a directory of her choice when it takes the allocation away', async () => {
    execFileSync('mount', ['-t', 'tmpfs', 'home-of-others', join(base, 'etc')]);
    await settle(access(one('alice', ALICE, 't')));
    const t = `${allocDir}/${ID}/t`;
    await alice.run(`umount -l ${t}/secrets; mv ${t}/secrets ${t}/old && ln -s ${base}/etc ${t}/secrets`);
    try {
      execFileSync('umount', ['-i', join(t, 'secrets')], { stdio: 'pipe' });
    } catch {
      // nothing mounted there is fine
    }
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).toContain(` ${base}/etc `);
  });

  test('cannot enter the task directory of another user that Nomad makes later', async () => {
    const alices = one('alice', ALICE, 't');
    await settle(access(alices, one('bob', BOB, 'u')), access(alices));
    buildTask('u');
    writeFileSync(join(allocDir, ID, 'u/secrets/nomad_token'), 'of bob');
    expect((await alice.run(`cat ${allocDir}/${ID}/u/secrets/nomad_token`)).output).not.toContain('of bob');
  });

  test('cannot put anything into a task directory that Nomad is about to fill', async () => {
    await settle(access(one('alice', ALICE, 't', 'later')));
    allocMkdirAll(join(allocDir, ID, 'later'), 0o777); // the first line of TaskDir.Build; alice has until the second
    await alice.run(`ln -s ${base}/etc ${allocDir}/${ID}/later/local`);
    allocMkdirAll(join(allocDir, ID, 'later/local'), 0o777);
    expect(statSync(join(base, 'etc')).mode & 0o7777).toBe(0o755);
  });

  test('keeps the way to her task where a task of another driver runs as her too', async () => {
    buildTask('x');
    const others = [one('alice', ALICE, 'x')];
    await settle({ ...access(one('alice', ALICE, 't')), others, tasks: ['t', 'x'] });
    expect((await alice.run(`ls -d ${allocDir}/${ID}/t/local`)).code).toBe(0);
    expect((await alice.run(`mkdir ${allocDir}/${ID}/x/made`)).code).not.toBe(0);
  });
});

const one = (name: string, uid: number, ...tasks: string[]): Access => ({ name, uid, tasks });

function access(...podman: Access[]): Desired & { kind: 'access' } {
  return accessOf(ID, podman);
}
