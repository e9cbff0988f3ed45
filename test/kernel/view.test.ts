import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Desired } from '../../src/model/desired.ts';
import type { Resource } from '../../src/resources/resource.ts';
import type { UserTrees } from '../../src/resources/view/user-trees.ts';
import { accessOf } from '../support/access-of.ts';
import { PodmanLikeProcess } from '../support/podman-like-process.ts';
import { requires } from '../support/requires.ts';
import { type ViewParts, viewParts } from '../support/view-parts.ts';

const ALICE = 61001;
const BOB = 61002;
const ID = '11111111-2222-3333-4444-555555555555';
const OTHER = '99999999-2222-3333-4444-555555555555';

requires('root', 'sandbox')('what a user is shown of her allocation', () => {
  let base: string;
  let allocDir: string;
  let parts: ViewParts;
  let alice: PodmanLikeProcess;
  const all: ViewParts[] = [];

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
    parts = restarted();
  });

  afterEach(async () => {
    await alice.stop();
    for (const one of all.splice(0)) one[Symbol.dispose]();
    execFileSync('umount', ['-R', '-l', base]);
    rmSync(base, { recursive: true });
  });

  /** Another agent, which finds what the one before left. */
  function restarted(options: Parameters<typeof viewParts>[3] = {}): ViewParts {
    const owner = { name: 'alice', uid: ALICE, gid: ALICE, socket: join(base, String(ALICE), 'podman.sock') };
    const made = viewParts(base, join(base, 'data'), [owner], options);
    all.push(made);
    return made;
  }

  /** As Nomad makes it. */
  function makeAllocation(id: string, text: string): void {
    for (const path of ['alloc/data', 'alloc/tmp', 'alloc/logs', 't/local', 't/secrets', 't/private']) {
      mkdirSync(join(allocDir, id, path), { recursive: true });
      execFileSync('chmod', ['-R', '0777', join(allocDir, id, path.split('/')[0] ?? '')]);
    }
    writeFileSync(join(allocDir, id, 't/local/file'), text);
  }

  /** Here and in alice's mount namespace. */
  const mountsOfOurs = () =>
    ['self', alice.pid].flatMap((pid) =>
      readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
        .split('\n')
        .filter((line) => line.includes(`${base}/data`) || line.includes(`${base}/state`)),
    );
  const at = (path: string, id = ID) => `${allocDir}/${id}/${path}`;
  const read = (id = ID) => alice.run(`cat ${at('t/local/file', id)}`);
  const code = async (command: string) => (await alice.run(command)).code;

  test('is her leaves, while the data dir stays shut', async () => {
    expect((await read()).code).not.toBe(0);
    await settle(parts.view, access(ID));
    expect(await read()).toEqual({ code: 0, output: 'hello' });
    const outside = ['--reuid', String(ALICE), '--clear-groups', 'ls', join(allocDir, ID)];
    expect(() => execFileSync('setpriv', outside, { stdio: 'pipe' })).toThrow(/Permission denied/);
  });

  test('is nothing else below the data dir', async () => {
    makeAllocation(OTHER, 'bob');
    writeFileSync(join(base, 'data/secret'), 'server.db');
    await settle(parts.view, access(ID));
    expect((await alice.run(`find ${allocDir} -not -path '*/file' | sort`)).output.trim().split('\n')).toEqual([
      allocDir,
      `${allocDir}/${ID}`,
      ...['alloc', 'alloc/data', 'alloc/logs', 'alloc/tmp', 't', 't/local', 't/secrets'].map((path) => at(path)),
    ]);
    expect(await code(`cat ${base}/data/secret`)).not.toBe(0);
  });

  test('is the same where the data dir is open to all', async () => {
    chmodSync(join(base, 'data'), 0o755);
    makeAllocation(OTHER, 'bob');
    await settle(parts.view, access(ID));
    expect((await read()).output).toBe('hello');
    expect((await read(OTHER)).code).not.toBe(0);
    expect(await code(`mkdir ${at('t/x')}`)).not.toBe(0);
  });

  test('can be written where it is data, temporary or local, and nowhere above', async () => {
    await settle(parts.view, access(ID));
    for (const path of ['alloc/data/x', 'alloc/tmp/x', 't/local/x', 'alloc/x']) {
      expect([path, await code(`touch ${at(path)}`)]).toEqual([path, 0]);
    }
    for (const path of ['x', 't/x', '../x', 'alloc/logs/x', 't/secrets/x']) {
      expect([path, (await alice.run(`touch ${at(path)}`)).output]).toEqual([
        path,
        expect.stringMatching(/Read-only|Permission denied/),
      ]);
    }
    expect(await code(`mv ${at('t/local')} ${at('t/moved')}`)).not.toBe(0);
  });

  test('has for the top of alloc/ a directory that Nomad never names', async () => {
    await settle(parts.view, access(ID));
    expect(await code(`echo hello >${at('alloc/hello')}`)).toBe(0);
    expect(readFileSync(at('.shared/hello'), 'utf8')).toBe('hello\n');
    expect(() => statSync(at('alloc/hello'))).toThrow();
    expect(statSync(at('.shared')).mode & 0o7777).toBe(0o777);
  });

  test("has what root put at the top of Nomad's alloc/, read-only, once it is there", async () => {
    await settle(parts.view, access(ID));
    writeFileSync(at('alloc/tpl'), 'rendered');
    mkdirSync(at('alloc/artifact'));
    symlinkSync('/etc/shadow', at('alloc/link'));
    await settle(parts.view, access(ID));
    expect((await alice.run(`cat ${at('alloc/tpl')}`)).output).toBe('rendered');
    expect((await alice.run(`echo x >${at('alloc/tpl')}`)).output).toMatch(/Read-only/);
    expect((await alice.run(`ls -A ${at('alloc')}`)).output.split('\n').sort().join(' ').trim()).toBe(
      'artifact data logs tmp tpl',
    );
    rmSync(at('alloc/tpl'));
    writeFileSync(at('alloc/tpl'), 'again');
    await settle(parts.view, access(ID));
    expect((await alice.run(`cat ${at('alloc/tpl')}`)).output).toBe('again');
  });

  test('survives what she puts into the place of a mount point in there', async () => {
    await settle(parts.view, access(ID));
    const victim = join(base, 'victim');
    mkdirSync(victim, { mode: 0o755 });
    rmSync(at('.shared/data'), { recursive: true }); // as she can from a mount namespace in which nothing is mounted on it
    symlinkSync(victim, at('.shared/data'));
    await expect(settle(parts.view, access(ID))).rejects.toMatchObject({ code: 'mount_point_taken' });
    rmSync(at('.shared/data'));
    await settle(parts.view, access(ID));
    expect(await code(`touch ${at('alloc/data/x')}`)).toBe(0);
    expect(statSync(at('alloc/data/x')).isFile()).toBe(true);
    expect(execFileSync('ls', ['-A', victim], { encoding: 'utf8' })).toBe('');
  });

  test('has what a create names in the directory of the task, read-only, and without following what is not a way', async () => {
    mkdirSync(at('t/conf/deep'), { recursive: true });
    writeFileSync(at('t/conf/deep/a'), 'a');
    writeFileSync(at('t/one'), 'one');
    symlinkSync('/etc', at('t/etc'));
    await settle(parts.view, access(ID, ['t/conf/deep/a', 't/conf', 't/one', 't/missing', 't', 't/local/file', 'u/x']));
    expect((await alice.run(`cat ${at('t/conf/deep/a')} ${at('t/one')}`)).output).toBe('aone');
    expect((await alice.run(`touch ${at('t/conf/x')}`)).output).toMatch(/Read-only/);
    expect(await code(`ls ${at('t/missing')}`)).not.toBe(0);
    await expect(settle(parts.view, access(ID, ['t/etc/passwd']))).rejects.toMatchObject({ code: 'unsafe_path' });
    await expect(settle(parts.view, access(ID, ['t/private']))).rejects.toMatchObject({ code: 'private_dir' });
  });

  test('goes once the containers have been started where there are many, and comes back for the next create', async () => {
    const { view } = restarted({ mostShown: 1 });
    makeAllocation(OTHER, 'later');
    await settle(view, access(ID));
    await settle(view, started(ID));
    expect((await read()).output).toBe('hello');
    await settle(view, access(OTHER));
    await settle(view, started(ID));
    expect([(await read()).code === 0, (await read(OTHER)).output]).toEqual([false, 'later']);
    expect(view.granted(ID)).toEqual(new Map([['t', ALICE]]));
    await settle(view, access(ID));
    expect((await read()).output).toBe('hello');
    await settle(view, started(ID));
    await settle(view, nothing(ID));
    expect([view.allocationIds(), (await read(OTHER)).output]).toEqual([[OTHER], 'later']);
  });

  test('is settled after one round, and a second agent finds it settled', async () => {
    await settle(parts.view, access(ID));
    expect(await restarted().view.plan(access(ID))).toEqual([]);
  });

  test('comes with attributes that nobody but root takes off', async () => {
    await settle(parts.view, access(ID));
    makeAllocation(OTHER, 'later');
    await settle(parts.view, access(OTHER));
    for (const id of [ID, OTHER]) {
      const mounts = (await alice.run(`grep ' ${allocDir}/${id}/' /proc/self/mountinfo`)).output.trim().split('\n');
      expect(mounts).toHaveLength(6);
      for (const mount of mounts) expect(mount).toMatch(/nosuid,nodev/);
      for (const [path, option] of [
        ['alloc/logs', 'rw'],
        ['t/secrets', 'rw'],
        ['t/local', 'suid'],
        ['alloc/data', 'dev'],
      ]) {
        const { output } = await alice.run(`mount -o remount,bind,${option} ${at(path ?? '', id)}`);
        expect([path, output]).toEqual([path, expect.stringMatching(/permission denied/i)]);
      }
    }
  });

  requires('mapped-tmpfs')('with mapped ids', () => {
    test('shows ids on disk as those of her containers, and leaves on disk what they make', async () => {
      writeFileSync(at('t/local/narrow'), 'for root', { mode: 0o600 });
      await settle(parts.view, access(ID));
      expect(
        (await alice.run(`cat ${at('t/local/narrow')}; touch ${at('t/local/made')} ${at('alloc/data/made')}`)).output,
      ).toBe('for root');
      expect([at('t/local/made'), at('alloc/data/made')].map((path) => statSync(path).uid)).toEqual([0, ALICE]);
    });
  });

  test('has a secrets directory that Nomad mounts later', async () => {
    await settle(parts.view, access(ID));
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', at('t/secrets')]);
    writeFileSync(at('t/secrets/token'), 's3cret');
    await settle(parts.view, access(ID));
    expect((await alice.run(`cat ${at('t/secrets/token')}`)).output).toBe('s3cret');
  });

  test.each([
    ['where that is off', 'off', 0o700],
    ['where users can enter the data dir: a set-user-ID file would be theirs to run', 'auto', 0o711],
  ] as const)('shows them as they are %s', async (_, idmap, mode) => {
    chmodSync(join(base, 'data'), mode);
    writeFileSync(at('t/local/narrow'), 'for root', { mode: 0o600 });
    const { view } = restarted({ idmap });
    await settle(view, access(ID));
    expect(await code(`cat ${at('t/local/narrow')}`)).not.toBe(0);
    expect(await code(`touch ${at('t/local/made')}`)).toBe(0);
    expect(statSync(at('t/local/made')).uid).toBe(ALICE);
    expect(view.notes(access(ID))).toEqual([expect.stringMatching(/show ids as they are on disk/)]);
  });

  test('lets her Podman follow no symlink at the top of alloc/: it looks up log FIFOs there by names that containers can exchange', async () => {
    await settle(parts.view, access(ID));
    writeFileSync(join(base, String(ALICE), 'precious'), 'hers');
    chownSync(join(base, String(ALICE), 'precious'), ALICE, ALICE);
    // As a process does to whose mount namespace nothing of it is mounted, with a descriptor that it was passed.
    mkdirSync(at('.shared/evil'));
    symlinkSync(join(base, String(ALICE), 'precious'), at('.shared/evil/.t.stdout.fifo'));
    renameSync(at('.shared/logs'), at('.shared/old'));
    renameSync(at('.shared/evil'), at('.shared/logs'));
    expect((await alice.run(`echo line >>${at('alloc/logs/.t.stdout.fifo')}`)).code).not.toBe(0);
    expect(readFileSync(join(base, String(ALICE), 'precious'), 'utf8')).toBe('hers');
  });

  test('lets her Podman follow no symlink that another driver`s task puts into logs/', async () => {
    await settle(parts.view, access(ID));
    writeFileSync(at('alloc/logs/real'), 'line');
    symlinkSync('real', at('alloc/logs/.t.stdout.fifo'));
    symlinkSync('file', at('t/local/link'));
    expect((await alice.run(`cat ${at('alloc/logs/.t.stdout.fifo')}`)).output).toMatch(/Too many levels/);
    expect((await alice.run(`cat ${at('alloc/logs/real')} ${at('t/local/link')}`)).output).toBe('linehello');
  });

  test('cannot be taken apart where another user has the same directory: her Podman would be led away by its names', async () => {
    makeAllocation(OTHER, 'there before');
    await settle(parts.view, access(OTHER));
    await settle(parts.view, access(ID));
    for (const name of ['data', 'tmp', 'logs']) {
      expect([name, await code(`umount -l ${at(`alloc/${name}`)}`)]).not.toEqual([name, 0]);
      expect([name, await code(`mv ${at(`alloc/${name}`)} ${at(`alloc/old-${name}`)}`)]).not.toEqual([name, 0]);
      expect([name, await code(`unshare -Urm umount -l ${at(`alloc/${name}`)}`)]).not.toEqual([name, 0]);
    }
  });

  test('does not carry the mounts of the user back to the host', async () => {
    await settle(parts.view, access(ID));
    expect(await code(`mount -t tmpfs tmpfs ${at('t/local')}`)).toBe(0);
    expect(readFileSync(at('t/local/file'), 'utf8')).toBe('hello');
  });

  test('waits for that where no gate holds the create', async () => {
    const { view } = restarted({ ordering: 'watch' });
    const waiting = { code: 'task_dir_not_built', retryInMs: 5 };
    await expect(settle(view, access(ID))).rejects.toMatchObject(waiting);
    expect((await read()).output).toBe('hello');
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', at('t/secrets')]);
    await settle(view, access(ID));
  });

  test('comes where mounts do not propagate from the host, and where she has cut the propagation', async () => {
    execFileSync('mount', ['--make-private', base]);
    expect(await code('mount --make-rprivate /')).toBe(0);
    await settle(parts.view, access(ID));
    expect(await code('mount --make-rprivate /')).toBe(0);
    makeAllocation(OTHER, 'later');
    await settle(parts.view, access(OTHER));
    expect((await read(OTHER)).output).toBe('later');
    await end(parts, OTHER);
    expect((await read(OTHER)).code).not.toBe(0);
  });

  test('comes back where she has unmounted it', async () => {
    await settle(parts.view, access(ID));
    expect(await code(`umount -l ${base}/data`)).toBe(0);
    await settle(parts.view, access(ID));
    makeAllocation(OTHER, 'later');
    await settle(parts.view, access(OTHER));
    expect(await code(`umount -l ${at('t/local', OTHER)}`)).toBe(0);
    await settle(parts.view, access(OTHER));
    expect([await read(), await read(OTHER)].map(({ output }) => output)).toEqual(['hello', 'later']);
  });

  test('goes with the allocation, and leaves no mount, no directory and no mount namespace', async () => {
    await settle(parts.view, access(ID));
    await end(parts, ID);
    expect(mountsOfOurs()).toEqual([]);
    expect(parts.trees.uids()).toEqual([]);
    expect(execFileSync('ls', ['-A', join(base, 'state')], { encoding: 'utf8' })).toBe('');
  });

  test('goes after Nomad has removed the directory, dead mounts and all', async () => {
    await settle(parts.view, access(ID));
    rmSync(join(allocDir, ID), { recursive: true });
    await end(restarted(), ID);
    expect(mountsOfOurs()).toEqual([]);
  });

  test('of one allocation stays when another one goes', async () => {
    makeAllocation(OTHER, 'second');
    await settle(parts.view, access(ID));
    await settle(parts.view, access(OTHER));
    await end(parts, OTHER);
    expect((await read(OTHER)).code).not.toBe(0);
    expect((await read()).output).toBe('hello');
  });

  test('stays where it is when the data dir is opened and shut again, and goes whole', async () => {
    await settle(parts.view, access(ID));
    chmodSync(join(base, 'data'), 0o711);
    makeAllocation(OTHER, 'later');
    await settle(parts.view, access(OTHER));
    chmodSync(join(base, 'data'), 0o700);
    await settle(restarted().view, access(ID));
    expect([await read(), await read(OTHER)].map(({ output }) => output)).toEqual(['hello', 'later']);
    for (const id of [ID, OTHER]) await end(restarted(), id);
    expect(mountsOfOurs()).toEqual([]);
  });

  test('waits when a directory above the data dir is shut under it, says so, and goes whole', async () => {
    await settle(parts.view, access(ID));
    chmodSync(base, 0o700);
    makeAllocation(OTHER, 'later');
    await expect(settle(restarted().view, access(OTHER))).rejects.toMatchObject({
      code: 'view_shut_off',
      retryable: true,
    });
    chmodSync(base, 0o755);
    for (const id of [ID, OTHER]) await end(restarted(), id);
    expect(mountsOfOurs()).toEqual([]);
  });

  test('is mounted anew over earlier directories of the same id', async () => {
    await settle(parts.view, access(ID));
    rmSync(join(allocDir, ID), { recursive: true });
    makeAllocation(ID, 'again');
    await settle(parts.view, access(ID));
    expect((await read()).output).toBe('again');
    expect(await code(`touch ${at('alloc/data/x')}`)).toBe(0);
    expect(statSync(at('alloc/data/x')).isFile()).toBe(true);
  });

  test('is refused where the user has mounted something of hers over the data dir', async () => {
    const mount = `mkdir -p /tmp/hers-${ALICE} && mount -t tmpfs -o mode=700 tmpfs ${base}/${ALICE} && mount --bind ${base}/${ALICE} ${base}/data`;
    expect(await code(mount)).toBe(0);
    expect(await code(`chown 0:0 ${base}/data`)).toBe(0);
    await expect(settle(parts.view, access(ID))).rejects.toThrow(/something is mounted over/);
  });

  test('does not follow a symlink that the user puts into the path', async () => {
    expect(await code(`mount -t tmpfs tmpfs ${base} && mkdir ${base}/x && ln -s x ${base}/data`)).toBe(0);
    await expect(settle(parts.view, access(ID))).rejects.toThrow(/something is mounted over/);
  });

  test('is put together anew where the mount namespace that holds it was lost', async () => {
    await settle(parts.view, access(ID));
    parts[Symbol.dispose]();
    execFileSync('umount', ['-R', join(base, 'state/view')]);
    await settle(restarted().view, access(ID));
    expect((await read()).output).toBe('hello');
    await end(restarted(), ID);
    expect(mountsOfOurs()).toEqual([]);
  });

  test('is found again by an agent that comes after one that was killed at any step', async () => {
    for (const kill of killings(base)) {
      kill(restarted().trees);
      const next = restarted();
      await settle(next.view, access(ID));
      expect((await read()).output).toBe('hello');
      await end(next, ID);
      expect(mountsOfOurs()).toEqual([]);
    }
  });

  test('leaves nothing behind where a kill cut a removal short', async () => {
    await settle(parts.view, access(ID));
    parts.mounts.remove(ALICE, join(allocDir, ID), allocDir);
    for (const step of await restarted().planRemoval()) await step.apply();
    expect(mountsOfOurs()).toEqual([]);

    const killed = restarted();
    await settle(killed.view, access(ID));
    killed[Symbol.dispose]();
    execFileSync('umount', ['-R', join(base, 'state/view')]);
    const next = restarted();
    for (const step of await next.planRemoval()) await step.apply();
    expect(mountsOfOurs()).toEqual([]);
    expect(await next.planRemoval()).toEqual([]);
  });

  test('goes, and is swept, although she has mounted something over the way to it', async () => {
    await settle(parts.view, access(ID));
    expect(await code(`mount -t tmpfs none ${base}`)).toBe(0);
    await end(parts, ID);
    expect(parts.trees.uids()).toEqual([]);
    expect(await restarted().planRemoval()).toEqual([]);
  });

  test('is not swept while an allocation needs it', async () => {
    await settle(parts.view, access(ID));
    expect(await parts.planRemoval()).toEqual([]);
  });

  test('says for whom tasks were prepared', async () => {
    await settle(parts.view, access(ID));
    expect(restarted().view.granted(ID)).toEqual(new Map([['t', ALICE]]));
    expect(restarted().view.granted(OTHER)).toEqual(new Map());
  });

  test('waits where the Podman of the user does not run', async () => {
    await alice.stop();
    await expect(settle(parts.view, access(ID))).rejects.toThrow(/enable --now podman.socket/);
  });

  test("takes no process of another user for the user's Podman", async () => {
    const bob = await PodmanLikeProcess.start(BOB, join(base, String(BOB), 'podman.sock'));
    const found = parts.namespaces.of({ name: 'alice', uid: ALICE, gid: ALICE, socket: bob.socket });
    await expect(found).rejects.toMatchObject({ code: 'podman_not_running' });
    await bob.stop();
  });

  test('comes, locked, to the Podman that serves the socket after another one took it over', async () => {
    await settle(parts.view, access(ID));
    await alice.stop();
    rmSync(alice.socket);
    alice = await PodmanLikeProcess.start(ALICE, alice.socket);
    expect((await read()).code).not.toBe(0);
    await settle(parts.view, access(ID));
    expect((await read()).output).toBe('hello');
    expect((await alice.run(`mount -o remount,bind,rw ${at('alloc/logs')}`)).output).toMatch(/permission denied/i);
    await end(parts, ID);
    expect(mountsOfOurs()).toEqual([]);
  });

  test.each(['t/../u', '.', 'alloc', '.shared'])('is refused for a task named %s', async (task) => {
    const desired = accessOf(ID, [{ name: 'alice', uid: ALICE, tasks: [task] }]);
    await expect(settle(parts.view, desired)).rejects.toMatchObject({ code: 'bad_task_name' });
  });
});

/** What a kill can leave of the first steps. */
function killings(base: string): ((trees: UserTrees) => void)[] {
  const note = { overmounts: `${base}/data`, idMap: 'another' };
  const directory = `${base}/state/view`;
  const mountTmpfs = () => {
    mkdirSync(directory, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', directory]);
  };
  return [
    () => mkdirSync(directory, { recursive: true }),
    mountTmpfs,
    () => {
      mountTmpfs();
      writeFileSync(`${directory}/namespace`, '');
    },
    (trees) => trees.make(ALICE, note),
  ];
}

function access(id: string, named: readonly string[] = []): Desired {
  return accessOf(id, [{ name: 'alice', uid: ALICE, tasks: ['t'] }], { named: ['t', ...named] });
}

/** Its container has been started, and nothing is created. */
function started(id: string): Desired {
  return accessOf(id, [{ name: 'alice', uid: ALICE, tasks: ['t'] }], { started: ['t'] });
}

function nothing(id: string): Desired {
  return { kind: 'nothing', id, why: 'gone' };
}

/** As for an allocation of a user who has no other. */
async function end(parts: ViewParts, id: string): Promise<void> {
  await settle(parts.view, nothing(id));
  for (const step of await parts.planRemoval()) await step.apply();
  expect(await parts.planRemoval()).toEqual([]);
}

async function settle(resource: Resource, desired: Desired): Promise<void> {
  for (let round = 0; round < 3; round++) {
    for (const step of await resource.plan(desired)) await step.apply();
  }
  expect(await resource.plan(desired)).toEqual([]);
}
