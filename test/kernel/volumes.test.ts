import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openAbsolute } from '../../src/linux/handle.ts';
import { O } from '../../src/linux/libc.ts';
import { setAttribute } from '../../src/linux/xattr.ts';
import type { Desired } from '../../src/model/desired.ts';
import type { UserNeeds } from '../../src/model/user-needs.ts';
import type { DesiredVolume, LiveVolume } from '../../src/model/volume.ts';
import { takeAway } from '../../src/reconcile/settle.ts';
import type { Resource, Step, UserResource } from '../../src/resources/resource.ts';
import { VolumeViewResource } from '../../src/resources/view/volume-view.ts';
import { VolumeAclResource } from '../../src/resources/volume-acl.ts';
import { VolumeDirectories } from '../../src/resources/volume-directories.ts';
import { accessOf } from '../support/access-of.ts';
import { PodmanLikeProcess } from '../support/podman-like-process.ts';
import { requires } from '../support/requires.ts';
import { type ViewParts, viewParts } from '../support/view-parts.ts';

const ALICE = 61001;
const BOB = 61002;
const ID = '11111111-2222-3333-4444-555555555555';
const OTHER = '99999999-2222-3333-4444-555555555555';
const VOLUME = 'aaaaaaaa-2222-3333-4444-555555555555';

requires('root', 'sandbox')('a volume', () => {
  let base: string;
  let data: string;
  let volumeDir: string;
  let parts: ViewParts;
  let volumes: VolumeViewResource;
  let acl: VolumeAclResource;
  let alice: PodmanLikeProcess;
  let live: LiveVolume[];
  let isComplete: boolean;

  beforeEach(async () => {
    base = mkdtempSync('/tmp/volumes-');
    chmodSync(base, 0o755);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', base]);
    execFileSync('mount', ['--make-shared', base]);
    data = join(base, 'data');
    volumeDir = join(data, 'host_volumes', VOLUME);
    for (const id of [ID, OTHER]) mkdirSync(join(data, 'alloc', id, 't'), { recursive: true });
    mkdirSync(volumeDir, { recursive: true });
    writeFileSync(join(volumeDir, 'file'), 'kept');
    chmodSync(data, 0o700);
    chmodSync(join(data, 'host_volumes'), 0o700);
    mkdirSync(join(base, 'alice'), { mode: 0o700 });
    chownSync(join(base, 'alice'), ALICE, ALICE);
    alice = await PodmanLikeProcess.start(ALICE, join(base, 'alice/podman.sock'));
    live = [];
    isComplete = true;
    const owners = [{ name: 'alice', uid: ALICE, gid: ALICE, socket: join(base, 'alice/podman.sock') }];
    parts = viewParts(base, data, owners);
    volumes = volumesWith('none');
    acl = new VolumeAclResource(directories(), true);
  });

  afterEach(async () => {
    await alice.stop();
    parts[Symbol.dispose]();
    execFileSync('umount', ['-R', '-l', base]);
    rmSync(base, { recursive: true });
  });

  function directories(): VolumeDirectories {
    return new VolumeDirectories({
      dataDir: data,
      hostVolumesDir: join(data, 'host_volumes'),
      csiDir: join(data, 'client/csi'),
    });
  }

  function volumesWith(rights: 'none' | 'acl' | 'idmap'): VolumeViewResource {
    const owners = () => [{ name: 'alice', uid: ALICE, gid: ALICE, socket: join(base, 'alice/podman.sock') }];
    return new VolumeViewResource({
      ...parts,
      directories: directories(),
      owners,
      rights,
      isSelinuxOn: false,
    });
  }

  /** What is known of a user. */
  function needs(uid = ALICE): UserNeeds {
    const volumes = live.filter(({ volume }) => volume.uid === uid);
    return { uid, isComplete, allocations: new Set(volumes.map(({ id }) => id)), volumes };
  }

  /** Of what is known, an allocation's is what it desires now. */
  function know(desired: Desired): void {
    live = live.filter(({ id }) => id !== desired.id);
    if (desired.kind === 'access') live.push(...desired.volumes.map((volume) => ({ id: desired.id, volume })));
  }

  /** A pass over the user for an allocation, and for what is over where all is known. */
  async function settle(resource: UserResource, desired: Desired, uid = ALICE): Promise<void> {
    know(desired);
    for (const step of await resource.plan(desired.id, needs(uid))) await step.apply();
    expect(await resource.plan(desired.id, needs(uid))).toEqual([]);
    if (desired.kind === 'nothing') await clear(resource, uid);
  }

  async function clear(resource: UserResource, uid = ALICE): Promise<void> {
    if (!isComplete) return;
    for (const step of await resource.planRemoval(needs(uid))) await step.apply();
    expect(await resource.planRemoval(needs(uid))).toEqual([]);
  }

  async function show(desired: Desired): Promise<void> {
    await settleView(parts.view, desired);
    await settle(volumes, desired);
    if (desired.kind === 'nothing') await clear(parts.treeRemoval);
  }

  const read = (path = join(volumeDir, 'file')) => alice.run(`cat ${path}`);
  const modeOf = (path: string) => execFileSync('getfacl', ['-cpn', path], { encoding: 'utf8' });

  test('that an allocation claims is seen by its user, at its own path, and no other is', async () => {
    const other = join(data, 'host_volumes', OTHER);
    mkdirSync(other);
    writeFileSync(join(other, 'file'), "bob's");
    await show(claiming(ID));
    expect(await read()).toEqual({ code: 0, output: 'kept' });
    expect((await read(join(other, 'file'))).code).not.toBe(0);
    expect((await alice.run(`ls ${join(data, 'host_volumes')}`)).output.trim()).toBe(VOLUME);
    expect((await alice.run(`mkdir ${join(data, 'host_volumes/x')}`)).code).not.toBe(0);
    const outside = ['--reuid', String(ALICE), '--clear-groups', 'ls', volumeDir];
    expect(() => execFileSync('setpriv', outside, { stdio: 'pipe' })).toThrow(/Permission denied/);
  });

  test('goes with the last allocation that claims it', async () => {
    await show(claiming(ID));
    await show(claiming(OTHER));
    await show(finished(ID));
    expect((await read()).code).toBe(0);
    await show(accessOf(OTHER, [user()]));
    await clear(volumes);
    expect((await read()).code).not.toBe(0);
    expect((await alice.run(`ls -d ${data}/alloc/${OTHER}/alloc`)).code).toBe(0);
  });

  test('stays while it is not known who needs it', async () => {
    await show(claiming(ID));
    isComplete = false;
    await settle(volumes, finished(ID));
    expect((await read()).code).toBe(0);
  });

  test('goes with the view when the user has no allocation any more', async () => {
    await show(claiming(ID));
    await show(finished(ID));
    expect((await read()).code).not.toBe(0);
    expect(parts.trees.uids()).toEqual([]);
  });

  test('that was made anew is shown anew', async () => {
    await show(claiming(ID));
    rmSync(volumeDir, { recursive: true });
    mkdirSync(volumeDir);
    writeFileSync(join(volumeDir, 'file'), 'new');
    await show(claiming(ID));
    expect((await read()).output).toBe('new');
  });

  test('on which a plugin has mounted a filesystem is shown with it', async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', volumeDir]);
    writeFileSync(join(volumeDir, 'file'), 'mounted');
    await show(claiming(ID));
    expect((await read()).output).toBe('mounted');
  });

  test('that cannot be reached by anybody but root is refused with what the operator can do', async () => {
    chmodSync(volumeDir, 0o700);
    const message = new RegExp(
      `files .*u::rwx,g::---,o::---.* alice has no access: .*uid = ${ALICE}.*volumes: idmap or volumes: acl`,
    );
    await expect(show(claiming(ID))).rejects.toMatchObject({ code: 'volume_shut', message });
    chownSync(volumeDir, ALICE, 0);
    await show(claiming(ID));
    expect((await read()).code).toBe(0);
  });

  test.each([
    'host_volumes',
    `host_volumes/${VOLUME}/x`,
    'host_volumes/../server',
    'server',
    `alloc/${OTHER}`,
    'host_volumes/not-an-id',
  ])('that Nomad says is %s in its data dir is not shown', async (path) => {
    const claim = { ...volume(), path: `${data}/${path}` };
    await expect(show(accessOf(ID, [user()], { volumes: [claim] }))).rejects.toMatchObject({
      code: 'volume_elsewhere',
    });
  });

  test('outside of the data dir is left to its own permissions', async () => {
    const path = join(base, 'srv');
    mkdirSync(path, { mode: 0o700 });
    await show(accessOf(ID, [user()], { volumes: [{ ...volume(), path }] }));
    await settle(acl, claiming(ID, { path }));
    expect(statSync(path).mode & 0o777).toBe(0o700);
  });

  test('whose directory is a symlink is not followed', async () => {
    const link = join(data, 'host_volumes', OTHER);
    symlinkSync(join(data, 'alloc'), link);
    await show(accessOf(ID, [user()], { volumes: [{ ...volume(), path: link }] }));
    expect((await alice.run(`ls ${link}/`)).code).not.toBe(0);
  });

  test('is shown the same way where the data dir is open', async () => {
    chmodSync(data, 0o755);
    chmodSync(join(data, 'alloc'), 0o711);
    await show(claiming(ID));
    expect((await read()).output).toBe('kept');
  });

  requires('mapped-tmpfs')('with mapped ids', () => {
    test("with `volumes: idmap` is what it is for a rootful container: root's is its root's", async () => {
      chmodSync(volumeDir, 0o700);
      writeFileSync(join(volumeDir, 'narrow'), 'for root', { mode: 0o600 });
      volumes = volumesWith('idmap');
      await show(claiming(ID));
      expect((await read(join(volumeDir, 'narrow'))).output).toBe('for root');
      expect((await alice.run(`touch ${volumeDir}/made`)).code).toBe(0);
      expect(statSync(join(volumeDir, 'made')).uid).toBe(0);
    });
  });

  test('with `volumes: idmap` is as it is on disk where users can enter the directory of all volumes', async () => {
    for (const path of [data, join(data, 'host_volumes'), volumeDir]) chmodSync(path, 0o755);
    volumes = volumesWith('idmap');
    await show(claiming(ID));
    expect((await alice.run(`touch ${volumeDir}/made`)).code).not.toBe(0);
    chmodSync(volumeDir, 0o777);
    expect((await alice.run(`touch ${volumeDir}/made`)).code).toBe(0);
    expect(statSync(join(volumeDir, 'made')).uid).toBe(ALICE);
  });

  test('cannot be made writable by anybody where all claims are for reading', async () => {
    chmodSync(volumeDir, 0o777);
    const reading = { volume: volume({ readOnly: true }) };
    await show(accessOf(ID, [user()], { volumes: [reading.volume] }));
    expect((await alice.run(`touch ${volumeDir}/x`)).output).toMatch(/Read-only/);
    expect((await alice.run(`mount -o remount,bind,rw ${volumeDir}`)).output).toMatch(/permission denied/i);
    await show(claiming(OTHER));
    expect((await alice.run(`touch ${volumeDir}/x`)).code).toBe(0);
    await show(finished(OTHER));
    await settle(volumes, accessOf(ID, [user()], { volumes: [reading.volume] }));
    expect((await alice.run(`touch ${volumeDir}/x`)).output).toMatch(/Read-only/);
    isComplete = false;
    await settle(volumes, accessOf(ID, [user()], { volumes: [reading.volume] }));
    expect((await alice.run(`touch ${volumeDir}/x`)).output).toMatch(/Read-only/);
  });

  const perAlloc = (id = ID) => join(data, 'client/csi/node/plugin/per-alloc', id, 'disk');
  const usage = 'rw-file-system-single-node-writer';
  /** As Nomad makes them: root's and 0700 (ensureAllocDir in client/pluginmanager/csimanager/volume.go). */
  function makeCsiDirectories(id = ID): void {
    mkdirSync(join(perAlloc(id), usage), { recursive: true, mode: 0o700 });
  }
  function mountCsi(id = ID): void {
    makeCsiDirectories(id);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', join(perAlloc(id), usage)]);
    writeFileSync(join(perAlloc(id), usage, 'file'), 'csi');
  }

  test('of CSI is seen where it is mounted for the allocation, and that of another is not', async () => {
    for (const id of [ID, OTHER]) mountCsi(id);
    await show(claimingCsi());
    expect((await read(join(perAlloc(), usage, 'file'))).output).toBe('csi');
    expect((await read(join(perAlloc(OTHER), usage, 'file'))).code).not.toBe(0);
  });

  test.each(['shared', 'private'])('of CSI is seen when it is mounted later, where mounts are %s', async (how) => {
    execFileSync('mount', [`--make-${how}`, base]);
    makeCsiDirectories();
    await show(claimingCsi());
    mountCsi();
    await show(claimingCsi());
    expect((await read(join(perAlloc(), usage, 'file'))).output).toBe('csi');
  });

  test('of CSI is shown without any right on the directories of Nomad, for as long as her allocation claims it', async () => {
    mountCsi();
    const before = modeOf(perAlloc());
    await show(claimingCsi());
    expect(modeOf(perAlloc())).toBe(before);
    expect((await alice.run(`touch ${perAlloc()}/made`)).code).not.toBe(0);
    await show(accessOf(OTHER, [user()]));
    isComplete = false;
    await settle(volumes, finished(ID));
    expect((await read(join(perAlloc(), usage, 'file'))).code).toBe(0);
    isComplete = true;
    await clear(volumes);
    expect((await read(join(perAlloc(), usage, 'file'))).code).not.toBe(0);
  });

  test('of CSI can be unmounted by its plugin while it is looked at', async () => {
    mountCsi();
    await show(claimingCsi());
    const observe = parts.mounts.observe.bind(parts.mounts);
    const observed = vi.spyOn(parts.mounts, 'observe').mockImplementationOnce((...args) => {
      execFileSync('umount', [join(perAlloc(), usage)], { stdio: 'pipe' });
      return observe(...args);
    });
    await volumes.plan(ID, needs());
    expect(observed).toHaveBeenCalledOnce();
    observed.mockRestore();
    expect(await volumes.plan(ID, needs())).toEqual([]);
  });

  test('of CSI leaves nothing behind in the tree', async () => {
    mountCsi();
    await show(accessOf(OTHER, [user()]));
    await show(claimingCsi());
    await show(finished(ID));
    expect((await alice.run(`ls -d ${data}/client/csi/node`)).code).not.toBe(0);
  });

  test('gets an entry for its user while an allocation claims it, and is then as it was', async () => {
    chmodSync(volumeDir, 0o700);
    const before = modeOf(volumeDir);
    await settle(acl, claiming(ID));
    expect(modeOf(volumeDir)).toContain(`user:${ALICE}:rwx`);
    expect(acl.uids()).toEqual([ALICE]);
    await show(claiming(ID));
    expect((await alice.run(`echo more > ${volumeDir}/made`)).code).toBe(0);
    await settle(acl, finished(ID));
    expect(modeOf(volumeDir)).toBe(before);
  });

  test('gets an entry for reading where all claims are for reading', async () => {
    const reading = volume({ readOnly: true });
    await settle(acl, claiming(ID, reading));
    expect(modeOf(volumeDir)).toContain(`user:${ALICE}:r-x`);
    await settle(acl, claiming(OTHER));
    expect(modeOf(volumeDir)).toContain(`user:${ALICE}:rwx`);
    await settle(acl, finished(OTHER));
    expect(modeOf(volumeDir)).toContain(`user:${ALICE}:r-x`);
  });

  test('keeps the rights that its user has while it is not known who claims it', async () => {
    await settle(acl, claiming(OTHER));
    know(finished(OTHER));
    isComplete = false;
    await settle(acl, claiming(ID, volume({ readOnly: true })));
    expect(modeOf(volumeDir)).toContain(`user:${ALICE}:rwx`);
    isComplete = true;
    await settle(acl, claiming(ID, volume({ readOnly: true })));
    expect(modeOf(volumeDir)).toContain(`user:${ALICE}:r-x`);
  });

  test('keeps the entries of others who claim it', async () => {
    await settle(acl, claiming(OTHER, { uid: BOB }), BOB);
    await settle(acl, claiming(ID));
    expect(modeOf(volumeDir)).toMatch(new RegExp(`user:${ALICE}:rwx\nuser:${BOB}:rwx`));
    await settle(acl, finished(OTHER), BOB);
    expect(modeOf(volumeDir)).not.toContain(`user:${BOB}`);
    expect(modeOf(volumeDir)).toContain(`user:${ALICE}:rwx`);
  });

  test('keeps an entry that another user gets between plan and step', async () => {
    know(claiming(ID));
    know(claiming(OTHER, { uid: BOB }));
    const steps = [...acl.plan(ID, needs()), ...acl.plan(OTHER, needs(BOB))];
    for (const step of steps) await step.apply();
    expect(modeOf(volumeDir)).toMatch(new RegExp(`user:${ALICE}:rwx\nuser:${BOB}:rwx`));
  });

  test('loses its entries where rights are given in another way now', async () => {
    const before = modeOf(volumeDir);
    await settle(acl, claiming(ID));
    acl = new VolumeAclResource(directories(), false);
    await settle(acl, claiming(ID));
    await clear(acl);
    expect(modeOf(volumeDir)).toBe(before);
  });

  test('with more entries in its ACL than a page holds gets one more, and is then as it was', async () => {
    const entries = Array.from({ length: 600 }, (_, index) => `u:${70_000 + index}:r-x`);
    execFileSync('setfacl', ['-m', entries.join(','), volumeDir]);
    const before = modeOf(volumeDir);
    await settle(acl, claiming(ID));
    expect(modeOf(volumeDir)).toContain(`user:${ALICE}:rwx`);
    await settle(acl, finished(ID));
    expect(modeOf(volumeDir)).toBe(before);
  });

  test('that cannot be looked at keeps no allocation from ending, and nothing on other volumes', async () => {
    const damaged = join(data, 'host_volumes', ID);
    mkdirSync(damaged);
    using directory = openAbsolute(damaged, O.RDONLY | O.DIRECTORY);
    setAttribute(directory, 'trusted.nomad_rootless', Buffer.from('damaged'));
    const before = modeOf(volumeDir);
    await settle(acl, claiming(ID));
    know(finished(ID));
    const failures: unknown[] = [];
    const take = async (step: Step) => step.apply();
    await takeAway(
      () => acl.planRemoval(needs()),
      take,
      (error) => failures.push(error),
    );
    expect(failures).toMatchObject([{ code: 'parse_error', message: expect.stringContaining(damaged) }]);
    expect(modeOf(volumeDir)).toBe(before);
  });

  const user = () => ({ name: 'alice', uid: ALICE, tasks: ['t'] });

  function volume(claim: Partial<DesiredVolume['claim']> = {}): DesiredVolume {
    const whole = { name: 'data', type: 'host', source: 'files', readOnly: false, ...claim };
    return { uid: ALICE, tasks: ['t'], claim: whole, path: whole.type === 'host' ? volumeDir : undefined };
  }

  function claiming(id: string, more: Partial<DesiredVolume> = {}): Desired {
    return accessOf(id, [user()], { volumes: [{ ...volume(), ...more }] });
  }

  function claimingCsi(): Desired {
    return accessOf(ID, [user()], { volumes: [volume({ type: 'csi', source: 'disk' })] });
  }
});

function finished(id: string): Desired {
  return { kind: 'nothing', id, why: 'finished' };
}

async function settleView(resource: Resource, desired: Desired): Promise<void> {
  for (const step of await resource.plan(desired)) await step.apply();
  expect(await resource.plan(desired)).toEqual([]);
}
