import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeFreshNetworkNamespace } from '../../src/linux/net/make-fresh-network-namespace.ts';
import { DataDir } from '../../src/resources/data-dir.ts';
import { PodmanNamespaces } from '../../src/resources/podman-namespaces.ts';
import { Skeletons } from '../../src/resources/skeleton.ts';
import { ViewResource } from '../../src/resources/view.ts';
import { accessOf } from '../support/access-of.ts';
import { PodmanLikeProcess } from '../support/podman-like-process.ts';
import { requires } from '../support/requires.ts';
import { until } from '../support/until.ts';

const ALICE = 61001;
const BOB = 61002;
const ID = '11111111-2222-3333-4444-555555555555';
const HANG_MS = 6000;
const KOFFI = createRequire(import.meta.url).resolve('koffi');

/**
 * A filesystem of a user's: the directory `data` and the file `file` in its root directory are there; a look-up of `hang`,
 * access(2), chdir(2) or fchdir(2) anywhere unless told to, and read(2) and close(2) of `file` never get an answer. Descriptor 3 is /dev/fuse. Layouts: include/uapi/linux/fuse.h, 7.31.
 */
const SERVER = `
const fs = require('node:fs');
const [OP_LOOKUP, OP_FORGET, OP_GETATTR, OP_STATFS, OP_GETXATTR, OP_LISTXATTR] = [1, 2, 3, 17, 22, 23];
const [OP_OPEN, OP_READ, OP_FLUSH] = [14, 15, 25];
const [OP_INIT, OP_OPENDIR, OP_READDIR, OP_RELEASEDIR, OP_ACCESS, OP_INTERRUPT, OP_BATCH_FORGET] = [26, 27, 28, 29, 34, 36, 42];
const LONG = 1000000n;
const FILE = 3n;
const reply = (unique, error, body = Buffer.alloc(0)) => {
  const head = Buffer.alloc(16);
  head.writeUInt32LE(16 + body.length, 0);
  head.writeInt32LE(error, 4);
  head.writeBigUInt64LE(unique, 8);
  fs.writevSync(3, [Buffer.concat([head, body])]);
};
const attributes = (body, at, ino) => {
  body.writeBigUInt64LE(ino, at);
  body.writeUInt32LE(ino === FILE ? 0o100644 : 0o040755, at + 60);
  body.writeUInt32LE(2, at + 64);
  body.writeBigUInt64LE(4096n, at + 8);
  return body;
};
const request = Buffer.alloc(1 << 17);
for (;;) {
  const length = fs.readSync(3, request);
  const op = request.readUInt32LE(4);
  const unique = request.readBigUInt64LE(8);
  const node = request.readBigUInt64LE(16);
  if (op === OP_INIT) {
    const body = Buffer.alloc(64);
    body.writeUInt32LE(7, 0);
    body.writeUInt32LE(31, 4);
    body.writeUInt32LE(65536, 20);
    reply(unique, 0, body);
  } else if (op === OP_LOOKUP) {
    const name = request.toString('utf8', 40, length - 1);
    if (name === 'hang') continue;
    const node = { data: 2n, file: FILE }[name];
    if (!node) { reply(unique, -2); continue; }
    const body = Buffer.alloc(128);
    body.writeBigUInt64LE(node, 0);
    body.writeBigUInt64LE(LONG, 16);
    body.writeBigUInt64LE(LONG, 24);
    reply(unique, 0, attributes(body, 40, node));
  } else if (op === OP_GETATTR) {
    const body = Buffer.alloc(104);
    body.writeBigUInt64LE(LONG, 0);
    reply(unique, 0, attributes(body, 16, node));
  } else if (op === OP_STATFS) reply(unique, 0, Buffer.alloc(80));
  else if (op === OP_OPENDIR || op === OP_OPEN) reply(unique, 0, Buffer.alloc(16));
  else if (op === OP_READDIR || op === OP_RELEASEDIR) reply(unique, 0);
  else if (op === OP_GETXATTR || op === OP_LISTXATTR) reply(unique, -95);
  else if (op === OP_ACCESS && process.argv[2] === 'answer') reply(unique, 0);
  else if (![OP_READ, OP_FLUSH, OP_ACCESS, OP_FORGET, OP_BATCH_FORGET, OP_INTERRUPT].includes(op)) reply(unique, -38);
}
`;

/**
 * A process that listens on a socket and never comes to the end of an execve(2): it closes a file of hers on the way.
 * Whoever looks at it in /proc then waits for it (exec_update_lock): its environ on every kernel, on Linux 6.18.44 also what
 * its ns/, fd/, root and stat say.
 */
const EXECUTING = `
use IO::Socket::UNIX;
my ($socket, $file) = @ARGV;
unlink $socket;
my $listening = IO::Socket::UNIX->new(Local => $socket, Listen => 50) or die $!;
exit sleep 1000 if fork == 0;
open my $closing, '<', $file or die $!;
exec 'sleep', '1000';
`;

/**
 * A process that asks for a table of iptables-legacy, IPT_SO_GET_ENTRIES, into memory that is a file of hers: the header of
 * the request ends where that begins. The kernel holds the lock of all such tables, of all network namespaces
 * (xt[AF_INET].mutex), while it writes the answer there.
 */
const HOLDING = `
const { address, as, errno, load } = require('${KOFFI}');
const libc = load('libc.so.6');
const mmap = libc.func('void *mmap(void *, size_t, int, int, int, long)');
const memcpy = libc.func('void *memcpy(void *, void *, size_t)');
const socket = libc.func('int socket(int, int, int)');
const getsockopt = libc.func('int getsockopt(int, int, int, void *, void *)');
const [PAGE, READ_WRITE, PRIVATE, FIXED, ANONYMOUS, HEADER] = [4096, 3, 2, 16, 32, 40];
const memory = BigInt(address(mmap(null, 2 * PAGE, READ_WRITE, PRIVATE | ANONYMOUS, -1, 0)));
const file = require('node:fs').openSync(process.argv[2], 'r+');
mmap(as(memory + BigInt(PAGE), 'void *'), PAGE, READ_WRITE, PRIVATE | FIXED, file, 0);
const raw = socket(2, 3, 255);
const sizeOf = (number) => Buffer.from(Uint32Array.of(number).buffer);
const info = Buffer.alloc(84);
info.write('filter');
if (getsockopt(raw, 0, 64, info, sizeOf(84)) !== 0) throw new Error('errno ' + errno());
const header = Buffer.alloc(HEADER);
header.write('filter');
header.writeUInt32LE(info.readUInt32LE(80), 32);
const request = as(memory + BigInt(PAGE - HEADER), 'void *');
memcpy(request, header, HEADER);
require('node:fs').writeSync(1, 'asking');
getsockopt(raw, 0, 65, request, sizeOf(HEADER + info.readUInt32LE(80)));
`;

/**
 * A process that asks whether lo has a link, ETHTOOL_GLINK, into memory that is a file of hers from the answer on. The
 * kernel holds the lock of all networks (rtnl_lock) while it writes the answer there.
 */
const HOLDING_NETWORKS = `
const { address, as, load } = require('${KOFFI}');
const libc = load('libc.so.6');
const mmap = libc.func('void *mmap(void *, size_t, int, int, int, long)');
const memcpy = libc.func('void *memcpy(void *, void *, size_t)');
const socket = libc.func('int socket(int, int, int)');
const ioctl = libc.func('int ioctl(int, ulong, void *)');
const [PAGE, READ_WRITE, PRIVATE, FIXED, ANONYMOUS] = [4096, 3, 2, 16, 32];
const memory = BigInt(address(mmap(null, 2 * PAGE, READ_WRITE, PRIVATE | ANONYMOUS, -1, 0)));
const file = require('node:fs').openSync(process.argv[2], 'r+');
mmap(as(memory + BigInt(PAGE), 'void *'), PAGE, READ_WRITE, PRIVATE | FIXED, file, 0);
const question = memory + BigInt(PAGE - 4);
memcpy(as(question, 'void *'), Buffer.from(Uint32Array.of(0xa).buffer), 4);
const request = Buffer.alloc(40);
request.write('lo');
request.writeBigUInt64LE(question, 16);
require('node:fs').writeSync(1, 'asking');
ioctl(socket(2, 2, 0), 0x8946, request);
`;

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
    namespaces = new PodmanNamespaces();
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

  function newView(): ViewResource {
    const owners = [
      { name: 'alice', uid: ALICE, gid: ALICE, socket: alice.socket },
      { name: 'bob', uid: BOB, gid: BOB, socket: bob.socket },
    ];
    const dataDir = new DataDir(join(base, 'nomad/data/alloc'));
    return new ViewResource(dataDir, new Skeletons(join(base, 'state')), namespaces, () => owners);
  }

  async function mountFuse(
    directory: string,
    onAccess: 'hang' | 'answer' = 'hang',
    seconds: number | 'infinity' = 'infinity',
  ): Promise<void> {
    const options = 'fd=3,rootmode=40000,user_id=0,group_id=0';
    const { code, output } = await alice.run(
      `mkdir -p ${directory}; exec 3<>/dev/fuse && mount -i -t fuse -o ${options} fuse ${directory} && ` +
        `(setsid timeout --signal=KILL ${seconds} ${process.execPath} ${base}/server.cjs ${onAccess} </dev/null >/dev/null 2>${base}/alice/log &)`,
    );
    expect({ code, output }).toEqual({ code: 0, output: '' });
  }

  /** FUSE of a user namespace answers nobody outside of it; an overlay over it asks with the rights of its mounter. */
  async function mountOverlayOverFuse(): Promise<string> {
    const a = join(base, 'alice');
    await mountFuse(`${a}/fuse`);
    const mount = `mkdir ${a}/low ${a}/over; mount -t overlay overlay -o lowerdir=${a}/fuse:${a}/low,userxattr ${a}/over`;
    expect(await alice.run(`${mount} && ls -d ${a}/over/data`)).toEqual({ code: 0, output: `${a}/over/data\n` });
    return `${a}/over`;
  }

  /** Runs code of the agent's in a process of its own, and says whether it came back. */
  async function outcomeOf(code: string, withinMs = HANG_MS): Promise<string> {
    const argv = ['--input-type=module', '-e', `${code}\nconsole.log('came back'); process.exit();`];
    const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
    });
    const ended = once(child, 'close').then(() => true);
    if (await Promise.race([ended, pause(withinMs, false)])) return text.trim();
    const where = readFileSync(`/proc/${child.pid}/wchan`, 'utf8');
    child.kill('SIGKILL');
    const killed = await Promise.race([ended, pause(1000, false)]);
    return `hangs in ${where}${killed ? '' : ', and SIGKILL does not end it'}`;
  }

  test('cannot stop the agent where it asks who listens on her podman.sock', async () => {
    const over = await mountOverlayOverFuse();
    unlinkSync(alice.socket);
    symlinkSync(`/proc/${alice.pid}/root${over}/hang/podman.sock`, alice.socket);
    const code = `const { listenerOf } = await import(${source('linux/unix-peer.ts')});
      await listenerOf('${alice.socket}').catch(() => undefined);`;
    expect(await outcomeOf(code)).toBe('came back');
  });

  test('cannot stop the agent where a request passes her gate', async () => {
    const over = await mountOverlayOverFuse();
    unlinkSync(alice.socket);
    symlinkSync(`/proc/${alice.pid}/root${over}/hang/podman.sock`, alice.socket);
    const code = `const { connectToPodman } = await import(${source('gate/user-podman.ts')});
      const user = { name: 'alice', uid: ${ALICE}, gid: ${ALICE}, socket: '${alice.socket}' };
      await connectToPodman(user).catch(() => undefined);`;
    expect(await outcomeOf(code)).toBe('came back');
  });

  test('cannot stop the agent where it takes a cover off in her mount namespace', async () => {
    const over = await mountOverlayOverFuse();
    const { code } = await alice.run(
      `mount --rbind ${over} ${base}/nomad && mount --bind /usr ${base}/nomad/data && ls -d ${base}/nomad/data`,
    );
    expect(code).toBe(0);
    const sweep = `const { ViewResource } = await import(${source('resources/view.ts')});
      const { Skeletons } = await import(${source('resources/skeleton.ts')});
      const { DataDir } = await import(${source('resources/data-dir.ts')});
      const { PodmanNamespaces } = await import(${source('resources/podman-namespaces.ts')});
      const owner = { name: 'alice', uid: ${ALICE}, socket: '${alice.socket}' };
      const dataDir = new DataDir('${base}/nomad/data/alloc');
      const view = new ViewResource(dataDir, new Skeletons('${base}/state'), new PodmanNamespaces(), () => [owner]);
      for (const step of await view.planSweep()) await step.apply();`;
    expect(await outcomeOf(sweep)).toBe('came back');
  });

  test.each([
    [
      'reads the configuration of her Podman',
      (socket: string) => `const { readContainersConf } = await import(${source('gate/containers-conf.ts')});
        const user = { name: 'alice', uid: ${ALICE}, gid: ${ALICE}, home: '/nonexistent', socket: '${socket}' };
        await readContainersConf(user).catch(() => undefined);`,
    ],
    [
      'looks for the namespaces of her Podman',
      (socket: string) => `const { PodmanNamespaces } = await import(${source('resources/podman-namespaces.ts')});
        const owner = { name: 'alice', uid: ${ALICE}, gid: ${ALICE}, socket: '${socket}' };
        await new PodmanNamespaces().of(owner).catch(() => undefined);`,
    ],
    [
      'visits all her mount namespaces',
      () => `const { PodmanNamespaces } = await import(${source('resources/podman-namespaces.ts')});
        new PodmanNamespaces().visitAll(${ALICE}, () => undefined);`,
    ],
    [
      "looks who lives in anybody's network namespace",
      () => `const { openOwnNamespace, pidsIn } = await import(${source('linux/process.ts')});
        pidsIn(openOwnNamespace('net'), 'net');`,
    ],
  ])('cannot stop the agent, by a process that never ends its execve, where it %s', async (_, code) => {
    await mountFuse(`${base}/alice/fuse`);
    const socket = join(base, 'alice/executing.sock');
    const { output } = await alice.run(
      `(setsid perl ${base}/executing.pl ${socket} ${base}/alice/fuse/file </dev/null >/dev/null 2>${base}/alice/log2 &); ` +
        `for i in $(seq 50); do [ -S ${socket} ] && break; sleep 0.1; done; sleep 0.3; cat ${base}/alice/log2`,
    );
    expect(output).toBe('');
    expect(await outcomeOf(code(socket))).toBe('came back');
  });

  test("cannot stop the agent where it reads anybody's tables of iptables-legacy", async () => {
    await mountFuse(`${base}/alice/fuse`, 'hang', 9);
    const { output } = await alice.run(
      `(setsid unshare -n ${process.execPath} ${base}/holding.cjs ${base}/alice/fuse/file </dev/null >${base}/alice/said 2>&1 &); ` +
        `for i in $(seq 50); do [ -s ${base}/alice/said ] && break; sleep 0.1; done; sleep 0.3; cat ${base}/alice/said`,
    );
    expect(output).toBe('asking');
    // Until her filesystem ends, who asks first waits with the kernel; who comes behind is told, and files are read meanwhile.
    const code = `const { readXTables } = await import(${source('linux/net/x-tables.ts')});
      const { openOwnNamespace } = await import(${source('linux/process.ts')});
      const { readFile } = await import('node:fs/promises');
      const first = readXTables(openOwnNamespace('net')).then(() => 'first', (error) => error.code);
      const second = readXTables(openOwnNamespace('net')).then(() => 'second', (error) => error.code);
      await readFile('/proc/version');
      console.log(await Promise.race([first, second]));`;
    expect(await outcomeOf(code, 15_000)).toBe('kernel_busy\ncame back');
  });

  test('cannot stop the agent where it sets kernel parameters of networks', async () => {
    const netns = await makeFreshNetworkNamespace();
    writeFileSync(`${base}/netns`, '');
    execFileSync('mount', ['--bind', `/proc/${process.pid}/fd/${netns.fd}`, `${base}/netns`]);
    // The whole machine waits with us.
    await mountFuse(`${base}/alice/fuse`, 'hang', 3);
    const { output } = await alice.run(
      `(setsid ${process.execPath} ${base}/holding-networks.cjs ${base}/alice/fuse/file </dev/null >${base}/alice/said 2>&1 &); ` +
        `for i in $(seq 50); do [ -s ${base}/alice/said ] && break; sleep 0.1; done; sleep 0.1; cat ${base}/alice/said`,
    );
    expect(output).toBe('asking');
    const code = `const { writeSysctls } = await import(${source('linux/net/sysctl.ts')});
      const { openKernelPath } = await import(${source('linux/handle.ts')});
      let turns = 0;
      setInterval(() => turns++, 1);
      const written = await writeSysctls(openKernelPath('${base}/netns', 0), [['ipv4/ip_forward', '1']]);
      console.log(turns > 10 ? 'went on' : 'stood still', written.length);`;
    expect(await outcomeOf(code)).toBe('went on 0\ncame back');
    netns.close();
  });

  test("does not keep another user's stray cover from being swept", async () => {
    const desired = accessOf(ID, [{ name: 'bob', uid: BOB, tasks: ['t'] }]);
    for (const step of await newView().plan(desired)) await step.apply();
    execFileSync('umount', [join(base, 'state/views', String(BOB))]);
    rmSync(join(base, 'state'), { recursive: true });
    await mountFuse(join(base, 'nomad/data'));
    const steps = await Promise.resolve()
      .then(() => newView().planSweep())
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
      `(setsid ${process.execPath} ${base}/chroot.cjs </dev/null >${pidFile} 2>${base}/alice/chroot.log &); ` +
        `for i in $(seq 50); do [ -s ${pidFile} ] && break; sleep 0.1; done`,
    );
    writeFileSync(`/run/user/${ALICE}/libpod/tmp/pause.pid`, readFileSync(pidFile, 'utf8').trim());
    expect(readFileSync(pidFile, 'utf8').trim()).toMatch(/^\d+$/);
    const look = () =>
      namespaces.of({ name: 'alice', uid: ALICE, gid: ALICE, socket: alice.socket }).catch(() => undefined);
    await look();
    const before = readdirSync('/proc/self/fd').length;
    for (let turn = 0; turn < 20; turn++) await look();
    expect(readdirSync('/proc/self/fd').length - before).toBeLessThan(20);
  });
});

function source(path: string): string {
  return JSON.stringify(fileURLToPath(new URL(`../../src/${path}`, import.meta.url)));
}

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
