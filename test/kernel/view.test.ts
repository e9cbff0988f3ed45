import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Desired } from '../../src/model/desired.ts';
import { DataDir } from '../../src/resources/data-dir.ts';
import { PodmanNamespaces } from '../../src/resources/podman-namespaces.ts';
import type { Resource } from '../../src/resources/resource.ts';
import { Skeletons } from '../../src/resources/skeleton.ts';
import { ViewResource } from '../../src/resources/view.ts';
import { accessOf } from '../support/access-of.ts';
import { PodmanLikeProcess } from '../support/podman-like-process.ts';
import { requires } from '../support/requires.ts';

const ALICE = 61001;
const BOB = 61002;
const ID = '11111111-2222-3333-4444-555555555555';
const OTHER = '99999999-2222-3333-4444-555555555555';

requires('root', 'sandbox')('the private view', () => {
  let base: string;
  let allocDir: string;
  let skeletons: Skeletons;
  let namespaces: PodmanNamespaces;
  let view: ViewResource;
  let alice: PodmanLikeProcess;

  beforeEach(async () => {
    base = mkdtempSync('/tmp/view-');
    chmodSync(base, 0o755);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', base]);
    execFileSync('mount', ['--make-shared', base]);
    allocDir = join(base, 'data/alloc');
    mkdirSync(allocDir, { recursive: true });
    chmodSync(join(base, 'data'), 0o700);
    for (const uid of [ALICE, BOB]) {
      mkdirSync(join(base, String(uid)), { mode: 0o700 });
      chownSync(join(base, String(uid)), uid, uid);
    }
    makeAllocation(ID, 'hello');
    alice = await PodmanLikeProcess.start(ALICE, join(base, String(ALICE), 'podman.sock'));
    skeletons = new Skeletons(join(base, 'state'));
    namespaces = new PodmanNamespaces();
    view = newView();
  });

  afterEach(async () => {
    await alice.stop();
    namespaces.close();
    execFileSync('umount', ['-R', '-l', base]);
    rmSync(base, { recursive: true });
  });

  function newView(): ViewResource {
    const owner = { name: 'alice', uid: ALICE, gid: ALICE, socket: join(base, String(ALICE), 'podman.sock') };
    return new ViewResource(new DataDir(allocDir), skeletons, namespaces, () => [owner]);
  }

  function makeAllocation(id: string, text: string): void {
    mkdirSync(join(allocDir, id, 't/local'), { recursive: true });
    mkdirSync(join(allocDir, id, 't/secrets'));
    writeFileSync(join(allocDir, id, 't/local/file'), text);
  }

  /** Here and in alice's mount namespace. */
  const mountsOfView = () =>
    ['self', alice.pid].flatMap((pid) =>
      readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
        .split('\n')
        .filter((line) => line.includes(`${base}/`)),
    );

  const read = (id = ID) => alice.run(`cat ${allocDir}/${id}/t/local/file`);

  test('shows the user her allocation and leaves the data dir shut', async () => {
    expect((await read()).code).not.toBe(0);
    await settle(view, access(ID));
    expect(await read()).toEqual({ code: 0, output: 'hello' });
    const outside = ['--reuid', String(ALICE), '--clear-groups', 'ls', join(allocDir, ID)];
    expect(() => execFileSync('setpriv', outside, { stdio: 'pipe' })).toThrow(/Permission denied/);
  });

  test('shows nothing else below the data dir', async () => {
    makeAllocation(OTHER, 'bob');
    writeFileSync(join(base, 'data/secret'), 'server.db');
    await settle(view, access(ID));
    expect((await read(OTHER)).code).not.toBe(0);
    expect((await alice.run(`cat ${base}/data/secret`)).code).not.toBe(0);
    expect((await alice.run(`ls ${allocDir}`)).code).not.toBe(0);
  });

  test('is settled after one round, and a second agent finds it settled', async () => {
    await settle(view, access(ID));
    expect(await newView().plan(access(ID))).toEqual([]);
  });

  test('lets nobody make set-user-ID files or devices count', async () => {
    await settle(view, access(ID));
    const { output } = await alice.run(`grep ${allocDir}/${ID} /proc/self/mountinfo`);
    expect(output).toMatch(/nosuid,nodev/);
  });

  test('does not carry the mounts of the user back to the host', async () => {
    await settle(view, access(ID));
    expect((await alice.run(`mount -t tmpfs tmpfs ${allocDir}/${ID}/t/local`)).code).toBe(0);
    expect(execFileSync('cat', [join(allocDir, ID, 't/local/file')], { encoding: 'utf8' })).toBe('hello');
  });

  test('shows a secrets directory that Nomad mounts later', async () => {
    await settle(view, access(ID));
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', join(allocDir, ID, 't/secrets')]);
    writeFileSync(join(allocDir, ID, 't/secrets/token'), 's3cret');
    await settle(view, access(ID));
    expect((await alice.run(`cat ${allocDir}/${ID}/t/secrets/token`)).output).toBe('s3cret');
  });

  test('shows a secrets directory mounted later even where mounts do not propagate', async () => {
    execFileSync('mount', ['--make-private', base]);
    await settle(view, access(ID));
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', join(allocDir, ID, 't/secrets')]);
    writeFileSync(join(allocDir, ID, 't/secrets/token'), 's3cret');
    await settle(view, access(ID));
    expect((await alice.run(`cat ${allocDir}/${ID}/t/secrets/token`)).output).toBe('s3cret');
  });

  test('goes with the allocation, and leaves no mount, no directory and no skeleton', async () => {
    await settle(view, access(ID));
    await settle(view, nothing(ID));
    expect((await alice.run(`grep -c '${base}/data\\|${base}/state' /proc/self/mountinfo`)).output.trim()).toBe('0');
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(`${base}/`);
    expect(skeletons.uids()).toEqual([]);
  });

  test('goes after Nomad has removed the directory, dead mount and all', async () => {
    await settle(view, access(ID));
    rmSync(join(allocDir, ID), { recursive: true });
    await settle(newView(), nothing(ID));
    expect((await alice.run(`grep -c ${base}/data /proc/self/mountinfo`)).output.trim()).toBe('0');
  });

  test('of one allocation stays when another one goes', async () => {
    makeAllocation(OTHER, 'second');
    await settle(view, access(ID));
    await settle(view, access(OTHER));
    await settle(view, nothing(OTHER));
    expect((await read(OTHER)).code).not.toBe(0);
    expect((await read()).output).toBe('hello');
  });

  test('stays where it is when the data dir is opened, and goes whole', async () => {
    await settle(view, access(ID));
    chmodSync(join(base, 'data'), 0o711);
    makeAllocation(OTHER, 'later');
    await settle(view, access(OTHER));
    expect([await read(), await read(OTHER)].map(({ output }) => output)).toEqual(['hello', 'later']);
    for (const id of [ID, OTHER]) await settle(newView(), nothing(id));
    expect(mountsOfView()).toEqual([]);
    expect(skeletons.uids()).toEqual([]);
  });

  test('waits when the data dir is shut under it, says so, and goes whole', async () => {
    chmodSync(join(base, 'data'), 0o711);
    await settle(view, access(ID));
    chmodSync(join(base, 'data'), 0o700);
    makeAllocation(OTHER, 'later');
    await expect(settle(newView(), access(OTHER))).rejects.toMatchObject({ code: 'view_shut_off', retryable: true });
    await settle(newView(), nothing(ID));
    expect(mountsOfView()).toEqual([]);
    await settle(newView(), access(OTHER));
    expect((await read(OTHER)).output).toBe('later');
  });

  test('is mounted anew over an earlier directory of the same id', async () => {
    await settle(view, access(ID));
    rmSync(join(allocDir, ID), { recursive: true });
    makeAllocation(ID, 'again');
    await settle(view, access(ID));
    expect((await read()).output).toBe('again');
  });

  test('is refused where the user has mounted something of hers over the data dir', async () => {
    expect((await alice.run(`mount -t tmpfs tmpfs ${base}/data`)).code).toBe(0);
    await expect(settle(view, access(ID))).rejects.toThrow(/something is mounted over/);
  });

  test('does not follow a symlink that the user puts into the path', async () => {
    expect((await alice.run(`mount -t tmpfs tmpfs ${base} && mkdir ${base}/x && ln -s x ${base}/data`)).code).toBe(0);
    await expect(settle(view, access(ID))).rejects.toThrow(/something is mounted over/);
  });

  test('takes off the cover of an earlier time', async () => {
    await settle(view, access(ID));
    execFileSync('umount', [join(base, 'state/views', String(ALICE))]);
    rmSync(join(base, 'state'), { recursive: true });
    await settle(view, access(ID));
    expect((await read()).output).toBe('hello');
  });

  test('takes its skeleton along also where that failed the first time', async () => {
    await settle(view, access(ID));
    rmSync(join(base, 'state/views', String(ALICE), 'alloc', ID), { recursive: true });
    await settle(view, nothing(ID));
    expect(skeletons.uids()).toEqual([]);
    expect((await alice.run(`grep -c ${base}/data /proc/self/mountinfo`)).output.trim()).toBe('0');
  });

  test('leaves no cover and no skeleton behind where a kill cut a removal short', async () => {
    await settle(view, access(ID));
    rmSync(join(base, 'state/views', String(ALICE), 'alloc', ID), { recursive: true });
    for (const step of view.planSweep()) await step.apply();
    expect((await alice.run(`grep -c '${base}/data\\|${base}/state' /proc/self/mountinfo`)).output.trim()).toBe('0');

    await settle(view, access(ID));
    execFileSync('umount', [join(base, 'state/views', String(ALICE))]);
    rmSync(join(base, 'state'), { recursive: true });
    for (const step of view.planSweep()) await step.apply();
    expect((await alice.run(`grep -c ${base}/data /proc/self/mountinfo`)).output.trim()).toBe('0');
    expect(view.planSweep()).toEqual([]);
  });

  test('is not swept while an allocation needs it', async () => {
    await settle(view, access(ID));
    expect(view.planSweep()).toEqual([]);
  });

  test('waits where the Podman of the user does not run', async () => {
    await alice.stop();
    await expect(settle(view, access(ID))).rejects.toThrow(/enable --now podman.socket/);
  });

  test("takes no process of another user for the user's Podman", async () => {
    const bob = await PodmanLikeProcess.start(BOB, join(base, String(BOB), 'podman.sock'));
    const found = namespaces.of({ name: 'alice', uid: ALICE, gid: ALICE, socket: bob.socket });
    await expect(found).rejects.toMatchObject({ code: 'podman_not_running' });
    await bob.stop();
  });

  test('finds the Podman that serves the socket after another one took it over', async () => {
    await settle(view, access(ID));
    await alice.stop();
    rmSync(alice.socket);
    alice = await PodmanLikeProcess.start(ALICE, alice.socket);
    expect((await read()).code).not.toBe(0);
    await settle(view, access(ID));
    expect((await read()).output).toBe('hello');
  });
});

function access(id: string): Desired {
  return accessOf(id, [{ name: 'alice', uid: ALICE, tasks: ['t'] }]);
}

function nothing(id: string): Desired {
  return { kind: 'nothing', id, why: 'gone' };
}

async function settle(resource: Resource, desired: Desired): Promise<void> {
  for (let round = 0; round < 3; round++) {
    for (const step of await resource.plan(desired)) await step.apply();
  }
  expect(await resource.plan(desired)).toEqual([]);
}
