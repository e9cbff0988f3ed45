import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readContainersConf } from '../../src/gate/containers-conf.ts';
import { makeFreshNetworkNamespace } from '../../src/linux/net/make-fresh-network-namespace.ts';
import { PodmanNamespaces } from '../../src/resources/podman-namespaces.ts';
import { accessOf } from '../support/access-of.ts';
import { outcomeOf, source } from '../support/agent-code.ts';
import { EXECUTING, HOLDING, HOLDING_NETWORKS, KOFFI, SERVER } from '../support/hanging-programs.ts';
import { LeapingClock } from '../support/leaping-clock.ts';
import { PodmanLikeProcess } from '../support/podman-like-process.ts';
import { requires } from '../support/requires.ts';
import { until } from '../support/until.ts';
import { type ViewParts, viewParts } from '../support/view-parts.ts';

const ALICE = 61001;
const BOB = 61002;
const ID = '11111111-2222-3333-4444-555555555555';

/** Each of these passes where what one user does stays her own trouble. */
requires('root', 'sandbox')('a user with a filesystem of her own', () => {
  let base: string;
  let alice: PodmanLikeProcess;
  let bob: PodmanLikeProcess;
  let namespaces: PodmanNamespaces;

  beforeEach(async () => {
    base = mkdtempSync('/tmp/hang-');
    chmodSync(base, 0o755);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', base]);
    execFileSync('mount', ['--make-shared', base]);
    mkdirSync(join(base, 'nomad/data/alloc', ID), { recursive: true });
    chmodSync(join(base, 'nomad/data'), 0o700);
    for (const [name, uid] of [
      ['alice', ALICE],
      ['bob', BOB],
    ] as const) {
      mkdirSync(join(base, name), { mode: 0o700 });
      chownSync(join(base, name), uid, uid);
    }
    mkdirSync(`/run/user/${ALICE}/libpod/tmp`, { recursive: true });
    writeFileSync(join(base, 'server.cjs'), SERVER);
    writeFileSync(join(base, 'executing.pl'), EXECUTING);
    writeFileSync(join(base, 'holding.cjs'), HOLDING);
    writeFileSync(join(base, 'holding-networks.cjs'), HOLDING_NETWORKS);
    alice = await PodmanLikeProcess.start(ALICE, join(base, 'alice/podman.sock'));
    bob = await PodmanLikeProcess.start(BOB, join(base, 'bob/podman.sock'));
    namespaces = new PodmanNamespaces(new LeapingClock());
  });

  afterEach(async () => {
    // The server first: what hangs in it cannot be ended before.
    for (const pid of processesOf(ALICE)) kill(pid);
    await until('nothing of hers runs', () => processesOf(ALICE).length === 0);
    await alice.stop();
    await bob.stop();
    namespaces.close();
    execFileSync('umount', ['-R', '-l', base]);
    rmSync(base, { recursive: true });
    rmSync(`/run/user/${ALICE}`, { recursive: true });
  });

  function newParts(): ViewParts {
    const owners = [
      { name: 'alice', uid: ALICE, gid: ALICE, socket: alice.socket },
      { name: 'bob', uid: BOB, gid: BOB, socket: bob.socket },
    ];
    return viewParts(base, join(base, 'nomad/data'), owners);
  }

  /** @returns the pid of what serves it; when that ends, whoever waits gets an error */
  async function mountFuse(directory: string, onAccess: 'hang' | 'answer' = 'hang'): Promise<number> {
    const options = 'fd=3,rootmode=40000,user_id=0,group_id=0';
    const { code, output } = await alice.run(
      `mkdir -p ${directory}; exec 3<>/dev/fuse && mount -i -t fuse -o ${options} fuse ${directory} && ` +
        `(setsid ${process.execPath} ${base}/server.cjs ${onAccess} </dev/null >${base}/alice/unanswered 2>${base}/alice/log & echo $!)`,
    );
    expect(code).toBe(0);
    expect(output).toMatch(/^\d+\n$/);
    return Number(output);
  }

  /** As fusermount(1) mounts it for her, in the host's own mount namespace. @returns as mountFuse */
  function mountFuseOnHost(directory: string, ...more: readonly string[]): number {
    const device = openSync('/dev/fuse', 'r+');
    const options = ['fd=3,rootmode=40000', `user_id=${ALICE},group_id=${ALICE}`, ...more].join(',');
    execFileSync('mount', ['-i', '-t', 'fuse', '-o', options, 'fuse', directory], { stdio: [0, 1, 2, device] });
    const as = ['--reuid', String(ALICE), '--regid', String(ALICE), '--clear-groups', process.execPath];
    const logs = [openSync(join(base, 'alice/unanswered'), 'w'), openSync(join(base, 'alice/log'), 'w')] as const;
    const argv = [...as, join(base, 'server.cjs')];
    const server = spawn('setpriv', argv, { cwd: '/', stdio: ['ignore', ...logs, device] });
    for (const fd of [device, ...logs]) closeSync(fd);
    return server.pid ?? 0;
  }

  /** Starts a process of hers, and waits until it waits in the kernel for her filesystem. */
  async function startWaiting(command: string): Promise<void> {
    await alice.run(`(setsid ${command} </dev/null >${base}/alice/said 2>&1 &)`);
    await until('her filesystem leaves it waiting', () => {
      const said = readFileSync(join(base, 'alice/said'), 'utf8');
      if (said !== '') throw new Error(said);
      return readFileSync(join(base, 'alice/unanswered'), 'utf8') !== '';
    });
  }

  /** FUSE of a user namespace answers nobody outside of it; an overlay over it asks with the rights of its mounter. */
  async function mountOverlayOverFuse(): Promise<string> {
    const a = join(base, 'alice');
    await mountFuse(`${a}/fuse`);
    const mount = `mkdir ${a}/low ${a}/over; mount -t overlay overlay -o lowerdir=${a}/fuse:${a}/low,userxattr ${a}/over`;
    expect(await alice.run(`${mount} && ls -d ${a}/over/data`)).toEqual({ code: 0, output: `${a}/over/data\n` });
    return `${a}/over`;
  }

  test('cannot stop the agent where it asks who listens on her podman.sock', async () => {
    const over = await mountOverlayOverFuse();
    unlinkSync(alice.socket);
    symlinkSync(`/proc/${alice.pid}/root${over}/hang/podman.sock`, alice.socket);
    const code = `const { listenerOf } = await import(${source('linux/unix-peer.ts')});
      console.log(await listenerOf('${alice.socket}').catch((error) => error));`;
    expect(await outcomeOf(code)).toBe('undefined\ncame back');
  });

  test('cannot stop the agent where a request passes her gate', async () => {
    const over = await mountOverlayOverFuse();
    unlinkSync(alice.socket);
    symlinkSync(`/proc/${alice.pid}/root${over}/hang/podman.sock`, alice.socket);
    const code = `const { connectToPodman } = await import(${source('podman/connect.ts')});
      const user = { name: 'alice', uid: ${ALICE}, gid: ${ALICE}, socket: '${alice.socket}' };
      console.log(await connectToPodman(user).then(() => 'connected', ({ code }) => code));`;
    expect(await outcomeOf(code)).toBe('podman_unreachable\ncame back');
  });

  test('cannot stop the agent where it looks where a path leads that a create names', async () => {
    const directory = join(base, 'alice/shared');
    mkdirSync(directory);
    const filesystem = mountFuseOnHost(directory, 'allow_other');
    const code = `const { guardedAmong } = await import(${source('gate/followed-paths.ts')});
      const user = { name: 'alice', uid: ${ALICE}, gid: ${ALICE}, home: '/nonexistent', socket: '${alice.socket}' };
      const paths = [{ where: 'mounts.0.source', path: '${directory}/hang/x', isMount: true, options: [] }];
      const asked = guardedAmong(paths, user, { guarded: ['${base}/nomad'] });
      console.log(await asked.then((found) => found?.leadsTo, (error) => error.code));`;
    const outcome = await outcomeOf(code);
    kill(filesystem);
    expect(outcome).toBe('user_files_unreadable\ncame back');
  });

  const asks: [string, (socket: string) => string][] = [
    [
      'asks who listens on her podman.sock',
      (socket) => `const { listenerOf } = await import(${source('linux/unix-peer.ts')});
        console.log(await listenerOf('${socket}'));`,
    ],
    [
      'passes a request to her Podman',
      (socket) => `const { connectToPodman } = await import(${source('podman/connect.ts')});
        const user = { name: 'alice', uid: ${ALICE}, gid: ${ALICE}, socket: '${socket}' };
        await connectToPodman(user).catch(({ code }) => console.log(code === 'podman_unreachable' ? undefined : code));`,
    ],
  ];

  test.each(asks)('cannot stop the agent, by one on the host that root may use, where it %s', async (_, ask) => {
    mkdirSync(join(base, 'alice/podman'));
    mountFuseOnHost(join(base, 'alice/podman'), 'allow_other');
    expect(await outcomeOf(ask(join(base, 'alice/podman/hang')))).toBe('undefined\ncame back');
  });

  test.each(asks)(
    'cannot stop the agent, by a socket on such a one that the kernel knows, where it %s',
    async (_, ask) => {
      mkdirSync(join(base, 'alice/podman'));
      mountFuseOnHost(join(base, 'alice/podman'), 'allow_other', 'default_permissions');
      const socket = join(base, 'alice/podman/socket');
      // O_PATH: it is looked up, and nothing more.
      closeSync(openSync(socket, 0o10000000));
      expect(await outcomeOf(ask(socket))).toBe('undefined\ncame back');
    },
  );

  test('cannot stop the agent, by one over her runtime directory, where it looks for her pause process', async () => {
    mountFuseOnHost(`/run/user/${ALICE}`, 'allow_other');
    const code = `const { PodmanNamespaces } = await import(${source('resources/podman-namespaces.ts')});
      const owner = { name: 'alice', uid: ${ALICE}, gid: ${ALICE}, socket: '${alice.socket}' };
      console.log((await new PodmanNamespaces({ monotonic: () => 0 }).of(owner)).length);`;
    try {
      expect(await outcomeOf(code)).toBe('1\ncame back');
    } finally {
      execFileSync('umount', ['-l', `/run/user/${ALICE}`]);
    }
  });

  test('leaves at most one child of ours waiting for it, however often her configuration is read', async () => {
    mkdirSync(join(base, 'alice/home'));
    const filesystem = mountFuseOnHost(join(base, 'alice/home'));
    const home = join(base, 'alice/home/hang');
    const user = { name: 'alice', uid: ALICE, gid: ALICE, home, socket: join(base, 'alice/none.sock') };
    const children = () => processesOf(ALICE).filter((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'grep\n');
    const before = readdirSync('/proc/self/fd').length;
    const looks = Array.from({ length: 20 }, () => readContainersConf(user).catch(({ code }) => code));
    const codes = await Promise.all(looks);
    codes.push(await readContainersConf(user).catch(({ code }) => code));
    expect(children()).toHaveLength(1);
    expect(readdirSync('/proc/self/fd').length - before).toBeLessThan(3);
    expect(codes).toEqual(['user_files_unreadable', ...Array(20).fill('user_child_left')]);
    kill(filesystem);
    await until('it is read again', () => readContainersConf({ ...user, home: '/nonexistent' }).then(() => true));
  });

  test('cannot stop the agent where it takes something off the data dir in her mount namespace', async () => {
    const over = await mountOverlayOverFuse();
    const { code } = await alice.run(
      `mount --rbind ${over} ${base}/nomad && mount --bind /usr ${base}/nomad/data && ls -d ${base}/nomad/data`,
    );
    expect(code).toBe(0);
    const sweep = `const { viewParts } = await import('${import.meta.dirname}/../support/view-parts.ts');
      const owner = { name: 'alice', uid: ${ALICE}, socket: '${alice.socket}' };
      const { planRemoval } = viewParts('${base}', '${base}/nomad/data', [owner]);
      for (const step of await planRemoval()) await step.apply();`;
    expect(await outcomeOf(sweep)).toBe('came back');
  });

  test.each([
    [
      'reads the configuration of her Podman',
      (socket: string) => `const { readContainersConf } = await import(${source('gate/containers-conf.ts')});
        const user = { name: 'alice', uid: ${ALICE}, gid: ${ALICE}, home: '/nonexistent', socket: '${socket}' };
        await readContainersConf(user).catch(({ code }) => console.log(code));`,
      'user_files_unreadable',
    ],
    [
      'looks for the namespaces of her Podman',
      (socket: string) => `const { PodmanNamespaces } = await import(${source('resources/podman-namespaces.ts')});
        const owner = { name: 'alice', uid: ${ALICE}, gid: ${ALICE}, socket: '${socket}' };
        console.log((await new PodmanNamespaces({ monotonic: () => 0 }).of(owner)).length);`,
      '1',
    ],
    [
      'looks for all her mount namespaces',
      () => `const { PodmanNamespaces } = await import(${source('resources/podman-namespaces.ts')});
        console.log((await new PodmanNamespaces({ monotonic: () => 0 }).all(${ALICE})).namespaces.length);`,
      '1',
    ],
    [
      "looks who lives in anybody's network namespace",
      () => `const { openOwnNamespace, pidsIn } = await import(${source('linux/process.ts')});
        console.log((await pidsIn(openOwnNamespace('net'), 'net')).includes(process.pid));`,
      'true',
    ],
  ])('cannot stop the agent, by a process that never ends its execve, where it %s', async (_, code, comes) => {
    await mountFuse(`${base}/alice/fuse`);
    const socket = join(base, 'alice/executing.sock');
    await startWaiting(`perl ${base}/executing.pl ${socket} ${base}/alice/fuse/file`);
    expect(await outcomeOf(code(socket))).toBe(`${comes}\ncame back`);
  });

  test("cannot stop the agent where it reads anybody's tables of iptables-legacy", async () => {
    const filesystem = await mountFuse(`${base}/alice/fuse`);
    await startWaiting(`unshare -n ${process.execPath} ${base}/holding.cjs ${base}/alice/fuse/file`);
    // Until her filesystem ends, who asks first waits with the kernel; who comes behind is told, and files are read meanwhile.
    const code = `const { readXTables } = await import(${source('linux/net/x-tables.ts')});
      const { openOwnNamespace } = await import(${source('linux/process.ts')});
      const { readFile } = await import('node:fs/promises');
      const first = readXTables(openOwnNamespace('net')).then(() => 'first', (error) => error.code);
      const second = readXTables(openOwnNamespace('net')).then(() => 'second', (error) => error.code);
      await readFile('/proc/version');
      console.log(await Promise.race([first, second]));`;
    const outcome = await outcomeOf(code, () => kill(filesystem));
    expect(outcome).toBe('kernel_busy\ncame back');
  });

  test('cannot stop the agent where it sets kernel parameters of networks', async () => {
    const netns = await makeFreshNetworkNamespace();
    writeFileSync(`${base}/netns`, '');
    execFileSync('mount', ['--bind', `/proc/${process.pid}/fd/${netns.fd}`, `${base}/netns`]);
    // The whole machine waits with us.
    const filesystem = await mountFuse(`${base}/alice/fuse`);
    await startWaiting(`${process.execPath} ${base}/holding-networks.cjs ${base}/alice/fuse/file`);
    const code = `const { writeSysctls } = await import(${source('linux/net/sysctl.ts')});
      const { openKernelPath } = await import(${source('linux/handle.ts')});
      const { setTimeout: pause } = await import('node:timers/promises');
      let isWritten = false;
      const writing = writeSysctls(openKernelPath('${base}/netns', 0), [['ipv4/ip_forward', '1']]);
      void writing.finally(() => { isWritten = true; });
      for (let turn = 0; turn < 20; turn++) await pause(10);
      console.log(isWritten ? 'was not kept waiting' : 'goes on');
      console.log((await writing).length);`;
    // Who stands still says nothing as long as her filesystem is there.
    const outcome = await outcomeOf(code, () => kill(filesystem));
    expect(outcome).toBe('goes on\n0\ncame back');
    netns.close();
  });

  test("does not keep another user's stray overmount from being removed", async () => {
    const desired = accessOf(ID, [{ name: 'bob', uid: BOB, tasks: ['t'] }]);
    for (const step of await newParts().view.plan(desired)) await step.apply();
    execFileSync('umount', ['-R', join(base, 'state/view')]);
    rmSync(join(base, 'state'), { recursive: true });
    await mountFuse(join(base, 'nomad/data'));
    const steps = await Promise.resolve()
      .then(() => newParts().planRemoval())
      .catch((error: unknown) => error);
    expect(steps).toMatchObject([{ what: expect.stringContaining(String(BOB)) }]);
  });

  test('costs the agent no descriptors by a process whose root directory root may not look at', async () => {
    const directory = join(base, 'alice/fuse');
    await mountFuse(directory, 'answer');
    const chroot = `const libc = require('${KOFFI}').load('libc.so.6');
      process.chdir('${directory}/..');
      if (libc.func('int chroot(const char *)')('${directory}') !== 0) process.exit(1);
      require('node:fs').writeSync(1, process.pid + '\\n');
      setInterval(() => undefined, 1000);`;
    const pidFile = join(base, 'alice/pid');
    writeFileSync(join(base, 'chroot.cjs'), chroot);
    await alice.run(
      `(setsid ${process.execPath} ${base}/chroot.cjs </dev/null >${pidFile} 2>${base}/alice/chroot.log &)`,
    );
    const pid = await until('it is in there', () => /^\d+(?=\n)/.exec(readFileSync(pidFile, 'utf8'))?.[0]);
    writeFileSync(`/run/user/${ALICE}/libpod/tmp/pause.pid`, pid);
    const owner = { name: 'alice', uid: ALICE, gid: ALICE, socket: alice.socket };
    // That of the process which serves her socket; what pause.pid names is none.
    const look = async () => (await namespaces.of(owner)).length;
    const found = [await look()];
    const before = readdirSync('/proc/self/fd').length;
    for (let turn = 0; turn < 20; turn++) found.push(await look());
    expect(found).toEqual(Array(21).fill(1));
    expect(readdirSync('/proc/self/fd').length - before).toBeLessThan(20);
  });
});

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** Zombies are none. */
function processesOf(uid: number): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        const status = pid > 0 ? readFileSync(`/proc/${pid}/status`, 'utf8') : '';
        return new RegExp(`^Uid:\\s+${uid}\\b`, 'm').test(status) && !/^State:\s+Z/m.test(status);
      } catch {
        return false;
      }
    });
}
