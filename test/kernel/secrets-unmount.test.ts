import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Handle, openAbsolute, openKernelPath } from '../../src/linux/handle.ts';
import { O } from '../../src/linux/libc.ts';
import { taskSetUp } from '../../src/resources/netns/task-set-up.ts';
import { accessOf } from '../support/access-of.ts';
import { PodmanLikeProcess } from '../support/podman-like-process.ts';
import { requires } from '../support/requires.ts';
import { type ViewParts, viewParts } from '../support/view-parts.ts';

const ALICE = 61001;
const ID = '11111111-2222-3333-4444-555555555555';
/** More than the labelling does at once. */
const MANY_FILES = 450;

/** It does so once, by umount(2) without flags, and leaves mount and directory behind where that fails (removeSecretDir). */
requires('root', 'sandbox')('Nomad can unmount secrets/ of a task', () => {
  let base: string;
  let secrets: string;
  let alice: PodmanLikeProcess;

  beforeEach(async () => {
    base = mkdtempSync('/tmp/secrets-');
    chmodSync(base, 0o755);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', base]);
    execFileSync('mount', ['--make-shared', base]);
    secrets = join(base, 'data/alloc', ID, 't/secrets');
    for (const path of ['alloc/data', 'alloc/tmp', 'alloc/logs', 't/local', 't/secrets']) {
      mkdirSync(join(base, 'data/alloc', ID, path), { recursive: true });
    }
    chmodSync(join(base, 'data'), 0o700);
    mkdirSync(join(base, 'alice'), { mode: 0o700 });
    chownSync(join(base, 'alice'), ALICE, ALICE);
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', secrets]);
    writeFileSync(join(secrets, 'token'), 'x');
    alice = await PodmanLikeProcess.start(ALICE, join(base, 'alice/podman.sock'), 'slave');
  });

  afterEach(async () => {
    vi.restoreAllMocks();
    await alice.stop();
    execFileSync('umount', ['-R', '-l', base]);
    rmSync(base, { recursive: true });
  });

  const desired = accessOf(ID, [{ name: 'alice', uid: ALICE, tasks: ['t'] }]);
  const newParts = (options: Parameters<typeof viewParts>[3] = {}) => {
    const owner = { name: 'alice', uid: ALICE, gid: ALICE, socket: alice.socket };
    return viewParts(base, join(base, 'data'), [owner], options);
  };
  const unmount = () => execFileSync('umount', [secrets], { stdio: 'pipe' });
  const isMounted = () => readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${secrets} `);

  async function settle({ view }: ViewParts): Promise<void> {
    for (const step of await view.plan(desired)) await step.apply();
    expect(await view.plan(desired)).toEqual([]);
  }

  test('while it is observed what its user is shown of it', async () => {
    using parts = newParts();
    await settle(parts);
    const observe = parts.mounts.observe.bind(parts.mounts);
    vi.spyOn(parts.mounts, 'observe').mockImplementationOnce((...args) => {
      unmount();
      return observe(...args);
    });
    const [again] = await parts.view.plan(desired);
    expect(again?.what).toContain('t/secrets');
    expect(isMounted()).toBe(false);
  });

  test('while it is mounted for its user', async () => {
    using parts = newParts();
    const [show] = await parts.view.plan(desired);
    const enter = parts.trees.in.bind(parts.trees);
    let entered = 0;
    vi.spyOn(parts.trees, 'in').mockImplementation((...args) => {
      entered++;
      if (isMounted()) unmount();
      return enter(...args);
    });
    // What it was mounted from can be gone by then: that is for the next pass.
    await (async () => show?.apply())().catch((error: unknown) => expect(String(error)).not.toContain('EBUSY'));
    expect([entered > 0, isMounted()]).toEqual([true, false]);
  });

  test('while what its user is shown is labelled for containers', async () => {
    for (let file = 0; file < MANY_FILES; file++) writeFileSync(join(secrets, `file${file}`), '');
    using parts = newParts({ isSelinuxOn: true });
    const [label] = await parts.view.plan(desired);
    expect(label?.what).toContain('labelled');
    let isDone = false;
    const labelled = (async () => label?.apply())().finally(() => {
      isDone = true;
    });
    let looks = 0;
    for (; !isDone && isMounted(); looks++) {
      unmount();
      await Promise.resolve();
    }
    expect([looks, isMounted()]).toEqual([1, false]);
    await labelled;
  });

  test('while it is looked at to tell how far the task is set up', () => {
    using netns = openKernelPath('/proc/self/ns/net', O.RDONLY);
    class Unmounting extends Handle {
      override get fd(): number {
        unmount();
        return netns.fd;
      }
    }
    using allocation = openAbsolute(join(base, 'data/alloc', ID));
    expect(['before', 'after']).toContain(taskSetUp(allocation, ['t'], new Unmounting(-1, 'the netns')));
    expect(isMounted()).toBe(false);
  });

  test('while its user holds a file of what is shown to her open', async () => {
    using parts = newParts();
    await settle(parts);
    const holding = alice.run(`exec 3<${secrets}/token; echo held >${base}/alice/held; sleep 1; cat <&3`);
    await vi.waitFor(() => readFileSync(join(base, 'alice/held')), { timeout: 20_000 });
    unmount();
    expect((await holding).output).toBe('x');
  });
});
