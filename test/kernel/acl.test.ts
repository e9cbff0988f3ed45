import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Access, Desired } from '../../src/model/desired.ts';
import { AllocationAclResource } from '../../src/resources/allocation-acl.ts';
import { DataDir } from '../../src/resources/data-dir.ts';
import { LogFifoResource } from '../../src/resources/log-fifo.ts';
import { readMarkedAcl } from '../../src/resources/marked-acl.ts';
import type { Resource } from '../../src/resources/resource.ts';
import { accessOf } from '../support/access-of.ts';
import { requires } from '../support/requires.ts';

const ALICE = 61001;
const BOB = 61002;
const SUBUID = 165536;
const ID = '11111111-2222-3333-4444-555555555555';
const OTHER = '99999999-2222-3333-4444-555555555555';
const UNMANAGED = '77777777-2222-3333-4444-555555555555';

requires('root', 'sandbox')('access to an allocation directory', () => {
  let base: string;
  let allocDir: string;
  let dataDir: DataDir;

  beforeEach(() => {
    base = mkdtempSync('/tmp/acl-');
    chmodSync(base, 0o755);
    allocDir = join(base, 'data/alloc');
    mkdirSync(allocDir, { recursive: true, mode: 0o711 });
    chmodSync(allocDir, 0o711);
    chmodSync(join(base, 'data'), 0o700);
    for (const id of [ID, OTHER, UNMANAGED]) makeAllocation(id);
    dataDir = new DataDir(allocDir, join(base, 'data'));
  });

  afterEach(() => rmSync(base, { recursive: true }));

  function makeAllocation(id: string): void {
    for (const path of ['alloc/logs', 't/local', 'u/local']) {
      mkdirSync(join(allocDir, id, path), { recursive: true });
      execFileSync('chmod', ['-R', '0777', join(allocDir, id, path.split('/')[0] ?? '')]);
    }
    chmodSync(join(allocDir, id), 0o755);
    writeFileSync(join(allocDir, id, 't/local/file'), id);
  }

  const locked = () => new AllocationAclResource(dataDir);
  const acl = (path: string) =>
    execFileSync('getfacl', ['-cpn', path], { encoding: 'utf8' }).trim().split('\n').join(',');
  const canRead = (uid: number, path: string) => {
    try {
      execFileSync('setpriv', ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups', 'cat', path], {
        stdio: 'pipe',
      });
      return true;
    } catch {
      return false;
    }
  };
  const file = (id: string) => join(allocDir, id, 't/local/file');

  test('is refused at once, with the remedy, where the filesystem has no ACLs, and nothing of ours is left there', async () => {
    // It has no extended attributes at all.
    execFileSync('mount', ['-t', 'ramfs', '-o', 'mode=0711', 'ramfs', allocDir]);
    using unmounting = new DisposableStack();
    unmounting.defer(() => void execFileSync('umount', [allocDir]));
    makeAllocation(ID);
    await expect(settle(locked(), access(ID, alice('t')))).rejects.toMatchObject({
      code: 'no_acl_support',
      retryable: false,
      message: `the filesystem of ${allocDir}/${ID} does not support POSIX ACLs, which protect allocations; mount it without noacl, or put Nomad's alloc_dir on ext4, XFS, btrfs or tmpfs`,
    });
    expect(statSync(join(allocDir, ID)).mode & 0o777).toBe(0o755);
    expect(locked().plan({ kind: 'nothing', id: ID, why: 'gone' })).toEqual([]);
    expect([dataDir.isRootOnly(), dataDir.overmountFor(ALICE)]).toEqual([true, join(base, 'data')]);
  });

  test("is nobody's on the host, not that of its user either, subuids included", async () => {
    chmodSync(join(base, 'data'), 0o711);
    await settle(locked(), access(ID, alice('t')));
    expect(acl(join(allocDir, ID))).toBe('user::rwx,group::---,other::---');
    expect([ALICE, BOB, SUBUID].map((uid) => canRead(uid, file(ID)))).toEqual([false, false, false]);
  });

  test('lets in the user of a task of another driver, and not into the directories of podman tasks', async () => {
    chmodSync(join(base, 'data'), 0o711);
    await settle(locked(), mixed('t'));
    expect(acl(join(allocDir, ID, '.shared'))).toMatch(/^user::rwx,user:61002:---/);
    writeFileSync(join(allocDir, ID, 'u/local/file'), 'bob');
    expect(acl(join(allocDir, ID))).toBe('user::rwx,user:61002:r-x,group::---,mask::r-x,other::---');
    expect([ALICE, BOB, SUBUID].map((uid) => canRead(uid, file(ID)))).toEqual([false, false, false]);
    expect(canRead(BOB, join(allocDir, ID, 'u/local/file'))).toBe(true);
    await settle(locked(), nothing(ID));
    expect(acl(join(allocDir, ID, 't'))).toBe('user::rwx,group::rwx,other::rwx');
  });

  test('has the directories of podman tasks to come made and locked before Nomad opens them up to such a user', async () => {
    chmodSync(join(base, 'data'), 0o711);
    await settle(locked(), mixed('t', 'later'));
    chmodSync(join(allocDir, ID, 'later'), 0o777);
    const asBob = ['--reuid', `${BOB}`, '--clear-groups', 'touch', join(allocDir, ID, 'later/x')];
    expect(() => execFileSync('setpriv', asBob, { stdio: 'pipe' })).toThrow(/Permission denied/);
    await settle(locked(), mixed('t', 'later'));
  });

  test('keeps the modes of what lies inside', async () => {
    await settle(locked(), access(ID, alice('t')));
    expect(statSync(join(allocDir, ID, 't/local')).mode & 0o7777).toBe(0o777);
    expect(acl(join(allocDir, ID, 't/local'))).toBe('user::rwx,group::rwx,other::rwx');
  });

  test('is put back exactly as it was', async () => {
    execFileSync('setfacl', ['-m', 'u:12345:r-x', join(allocDir, ID)]);
    const before = acl(join(allocDir, ID));
    await settle(locked(), access(ID, alice('t')));
    await settle(locked(), nothing(ID));
    expect(acl(join(allocDir, ID))).toBe(before);
    using directory = dataDir.open(ID);
    expect(directory && readMarkedAcl(directory).mark).toBeUndefined();
  });

  test('is left alone where a symlink lies in its place', async () => {
    rmSync(join(allocDir, ID), { recursive: true });
    symlinkSync(join(base, 'elsewhere'), join(allocDir, ID));
    mkdirSync(join(base, 'elsewhere'));
    await expect(settle(locked(), access(ID, alice('t')))).rejects.toThrow(/ELOOP|ENOTDIR/);
    expect(acl(join(base, 'elsewhere'))).toBe('user::rwx,group::r-x,other::r-x');
  });

  test("is refused where the directory is not root's", async () => {
    chownSync(join(allocDir, ID), BOB, BOB);
    await expect(settle(locked(), access(ID, alice('t')))).rejects.toThrow(/not root's/);
  });

  test('waits for the directory', async () => {
    rmSync(join(allocDir, ID), { recursive: true });
    await expect(settle(locked(), access(ID, alice('t')))).rejects.toThrow(/has not made/);
  });

  test('never leaves the directory that holds the allocations', () => {
    expect(() => dataDir.open('../../etc')).toThrow(/not an allocation id/);
  });

  test("gives a log FIFO of root's to the user, and takes it back", async () => {
    const fifo = join(allocDir, ID, 'alloc/logs/.t.stdout.fifo');
    execFileSync('mkfifo', ['-m', '600', fifo]);
    const resource = new LogFifoResource(dataDir);
    await settle(resource, access(ID, alice('t')));
    expect(acl(fifo)).toBe('user::rw-,user:61001:rw-,group::---,mask::rw-,other::---');
    await settle(resource, nothing(ID));
    expect(acl(fifo)).toBe('user::rw-,group::---,other::---');
  });

  test('gives nothing else that lies in the place of a log FIFO', async () => {
    const secret = join(base, 'data/secret');
    writeFileSync(secret, 'server.db', { mode: 0o600 });
    symlinkSync(secret, join(allocDir, ID, 'alloc/logs/.t.stdout.fifo'));
    writeFileSync(join(allocDir, ID, 'alloc/logs/.t.stderr.fifo'), '', { mode: 0o600 });
    await settle(new LogFifoResource(dataDir), access(ID, alice('t')));
    expect(acl(secret)).toBe('user::rw-,group::---,other::---');
    expect(acl(join(allocDir, ID, 'alloc/logs/.t.stderr.fifo'))).toBe('user::rw-,group::---,other::---');
  });

  test('does not follow a log directory that a task has replaced by a symlink', async () => {
    mkdirSync(join(base, 'data/logs'));
    execFileSync('mkfifo', ['-m', '600', join(base, 'data/logs/.t.stdout.fifo')]);
    rmSync(join(allocDir, ID, 'alloc/logs'), { recursive: true });
    symlinkSync(join(base, 'data/logs'), join(allocDir, ID, 'alloc/logs'));
    await expect(settle(new LogFifoResource(dataDir), access(ID, alice('t')))).rejects.toThrow(/has replaced it/);
    await settle(new LogFifoResource(dataDir), nothing(ID));
    expect(acl(join(base, 'data/logs/.t.stdout.fifo'))).toBe('user::rw-,group::---,other::---');
  });

  test('holds while a task swaps its log directory for a symlink and back', async () => {
    const logs = join(allocDir, ID, 'alloc/logs');
    mkdirSync(join(base, 'data/logs'));
    execFileSync('mkfifo', ['-m', '600', join(base, 'data/logs/.t.stdout.fifo')]);
    const resource = new LogFifoResource(dataDir);
    for (let turn = 0; turn < 50; turn++) {
      const steps = await resource.plan(access(ID, alice('t')));
      renameSync(logs, `${logs}.real`);
      symlinkSync(join(base, 'data/logs'), logs);
      for (const step of steps) expect(() => step.apply()).toThrow(/has replaced it/);
      rmSync(logs);
      renameSync(`${logs}.real`, logs);
      if (!existsSync(join(logs, '.t.stdout.fifo')))
        execFileSync('mkfifo', ['-m', '600', join(logs, '.t.stdout.fifo')]);
    }
    expect(acl(join(base, 'data/logs/.t.stdout.fifo'))).toBe('user::rw-,group::---,other::---');
  });
});

const alice = (...tasks: string[]): Access => ({ name: 'alice', uid: ALICE, tasks });
/** Podman tasks of alice beside a task u of another driver that runs as bob. */
const mixed = (...tasks: string[]) =>
  accessOf(ID, [alice(...tasks)], { others: [{ name: 'bob', uid: BOB, tasks: ['u'] }] });

function access(id: string, ...podman: Access[]): Desired {
  return accessOf(id, podman);
}

function nothing(id: string): Desired {
  return { kind: 'nothing', id, why: 'gone' };
}

async function settle(resource: Resource, desired: Desired): Promise<void> {
  for (const step of await resource.plan(desired)) await step.apply();
  expect(await resource.plan(desired)).toEqual([]);
}
