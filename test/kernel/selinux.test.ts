import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openAbsolute } from '../../src/linux/handle.ts';
import { O } from '../../src/linux/libc.ts';
import { SHARED_LABEL, share } from '../../src/linux/selinux.ts';
import { getAttribute } from '../../src/linux/xattr.ts';
import { accessOf } from '../support/access-of.ts';
import { PodmanLikeProcess } from '../support/podman-like-process.ts';
import { requires } from '../support/requires.ts';
import { viewParts } from '../support/view-parts.ts';

const ALICE = 61001;
const ID = '11111111-2222-3333-4444-555555555555';

/** Without SELinux in the kernel its labels are extended attributes like others, which root may set. */
requires('root', 'sandbox')('the label that containers share', () => {
  let base: string;

  beforeEach(() => {
    base = mkdtempSync('/tmp/selinux-');
    chmodSync(base, 0o755);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', base]);
  });

  afterEach(() => {
    execFileSync('umount', ['-R', '-l', base]);
    rmSync(base, { recursive: true });
  });

  const labelOf = (path: string) => {
    using file = openAbsolute(path, O.PATH);
    return getAttribute(file, 'security.selinux')?.toString('utf8').replace(/\0$/, '') ?? 'none';
  };

  async function shareAt(path: string): Promise<void> {
    using file = openAbsolute(path);
    await share(file);
  }

  test('goes to a directory and all that is in it, and to nothing that a symlink or a mount leads to', async () => {
    for (const path of ['dir/deep', 'dir/mounted', 'outside']) mkdirSync(join(base, path), { recursive: true });
    for (const path of ['dir/a', 'dir/deep/b', 'outside/c']) writeFileSync(join(base, path), '');
    symlinkSync(join(base, 'outside'), join(base, 'dir/link'));
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', join(base, 'dir/mounted')]);
    await shareAt(join(base, 'dir'));
    for (const path of ['dir', 'dir/a', 'dir/deep', 'dir/deep/b']) {
      expect([path, labelOf(join(base, path))]).toEqual([path, SHARED_LABEL]);
    }
    for (const path of ['outside', 'outside/c', 'dir/mounted']) {
      expect([path, labelOf(join(base, path))]).toEqual([path, 'none']);
    }
  });

  test('is left alone where the directory has it: what is made later inherits it', async () => {
    mkdirSync(join(base, 'dir'));
    await shareAt(join(base, 'dir'));
    writeFileSync(join(base, 'dir/later'), '');
    await shareAt(join(base, 'dir'));
    expect(labelOf(join(base, 'dir/later'))).toBe('none');
  });

  test.each([
    ['is on what is shown before it is shown, where SELinux is on', true],
    ['is on nothing where SELinux is off', false],
  ])('%s', async (_, isSelinuxOn) => {
    const allocation = join(base, 'data/alloc', ID);
    for (const path of ['alloc/data', 'alloc/tmp', 'alloc/logs', 't/local/x', 't/secrets']) {
      mkdirSync(join(allocation, path), { recursive: true });
    }
    chmodSync(join(base, 'data'), 0o700);
    mkdirSync(join(base, 'alice'), { mode: 0o700 });
    execFileSync('chown', [`${ALICE}:${ALICE}`, join(base, 'alice')]);
    const alice = await PodmanLikeProcess.start(ALICE, join(base, 'alice/podman.sock'));
    const owner = { name: 'alice', uid: ALICE, gid: ALICE, socket: alice.socket };
    using parts = viewParts(base, join(base, 'data'), [owner], { isSelinuxOn });
    const desired = accessOf(ID, [{ name: 'alice', uid: ALICE, tasks: ['t'] }]);
    const [first] = await parts.view.plan(desired);
    expect(first?.what.startsWith('labelled')).toBe(isSelinuxOn);
    for (let round = 0; round < 2; round++) for (const step of await parts.view.plan(desired)) await step.apply();
    expect(await parts.view.plan(desired)).toEqual([]);
    const leaves = ['.shared', 'alloc/data', 'alloc/tmp', 'alloc/logs', 't/local', 't/local/x', 't/secrets'];
    const labels = leaves.map((path) => labelOf(join(allocation, path)));
    expect(new Set(labels)).toEqual(new Set([isSelinuxOn ? SHARED_LABEL : 'none']));
    expect([labelOf(join(allocation, 't')), labelOf(join(allocation, 'alloc'))]).toEqual(['none', 'none']);
    await alice.stop();
  });
});
