import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { listeningInodes } from '../../src/linux/process.ts';
import { PodmanNamespaces } from '../../src/resources/podman-namespaces.ts';
import { Crowd } from '../support/crowd.ts';
import { LeapingClock } from '../support/leaping-clock.ts';
import { longestStepOf } from '../support/longest-step.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { PodmanLikeProcess } from '../support/podman-like-process.ts';
import { requires } from '../support/requires.ts';
import { until } from '../support/until.ts';

const ALICE = 61001;
const BOB = 61002;
/** Of CPU, in one step; each of these took from 140 ms to seconds. */
const MOST_MS = 100;

/**
 * Listens on a socket, as systemd does on a user's behalf in the host's own namespaces, and hands it to a process in
 * namespaces of the user that calls itself podman, as descriptor 3, where it is told to. Says that process's pid, or 0.
 */
const ACTIVATOR = `
const { readlinkSync } = require('node:fs');
const [path, serve] = process.argv.slice(1);
const server = require('node:net').createServer().listen(path, () => {
  let pid = 0;
  if (serve === 'serve') {
    const argv = ['--user', '--map-root-user', '--mount', 'perl', '-e', '$0 = "podman"; sleep 1000'];
    ({ pid } = require('node:child_process').spawn('unshare', argv, { stdio: ['ignore', 'ignore', 'inherit', server._handle.fd] }));
    while (readlinkSync('/proc/' + pid + '/ns/mnt') === readlinkSync('/proc/self/ns/mnt'));
  }
  console.log(pid);
});
`;

requires('root', 'sandbox')('a user whose Podman is started by her socket', () => {
  let base: string;
  let stray: PodmanLikeProcess;
  let started: ChildProcess[];
  let namespaces: PodmanNamespaces;

  beforeEach(async () => {
    base = mkdtempSync('/tmp/activation-');
    chownSync(base, ALICE, ALICE);
    started = [];
    namespaces = new PodmanNamespaces(new LeapingClock());
    stray = await PodmanLikeProcess.start(ALICE, join(base, 'stray.sock'));
  });

  afterEach(async () => {
    namespaces.close();
    await stray.stop();
    for (const child of started) if (child.exitCode === null) process.kill(-(child.pid ?? 0), 'SIGKILL');
    rmSync(base, { recursive: true });
  });

  async function activate(socket: string, serve: 'serve' | 'wait', uid = ALICE): Promise<number> {
    const as = ['--reuid', String(uid), '--regid', String(uid), '--clear-groups'];
    const argv = [...as, process.execPath, '-e', ACTIVATOR, socket, serve];
    const child = spawn('setpriv', argv, { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
    started.push(child);
    return Number(String((await once(child.stdout, 'data'))[0]));
  }

  const find = (socket: string) => namespaces.of({ name: 'alice', uid: ALICE, gid: ALICE, socket });

  test('is found by the process that has inherited the socket', async () => {
    const socket = join(base, 'podman.sock');
    const pid = await activate(socket, 'serve');
    const found = await find(socket);
    expect(found.map((one) => one.pid)).toEqual([pid]);
    expect(readlinkSync(`/proc/self/fd/${found[0].mount.fd}`)).toBe(readlinkSync(`/proc/${pid}/ns/mnt`));
  });

  test('is not looked for again within a tenth of a second, unless a process of what was found has ended', async () => {
    const clock = new ManualClock();
    namespaces = new PodmanNamespaces(clock);
    const [former, later] = [join(base, 'former.sock'), join(base, 'later.sock')];
    const pidsOf = async (socket: string) => (await find(socket)).map(({ pid }) => pid);
    const pid = await activate(former, 'serve');
    expect(await pidsOf(former)).toEqual([pid]);
    const next = await activate(later, 'serve');
    expect(await pidsOf(later)).toEqual([pid]);
    clock.advance(100);
    expect(await pidsOf(later)).toEqual([next]);
    process.kill(next, 'SIGKILL');
    await until('it has ended', () => !existsSync(`/proc/${next}`));
    expect(await pidsOf(former)).toEqual([pid]);
  });

  test('has no Podman as long as nobody has inherited the socket, whatever else runs in namespaces of hers', async () => {
    const socket = join(base, 'podman.sock');
    await activate(socket, 'wait');
    await expect(find(socket)).rejects.toMatchObject({ code: 'podman_not_running' });
  });

  test('is found although another user listens at a path of the same name in a mount namespace of his', async () => {
    const home = mkdtempSync('/tmp/bob-');
    chownSync(home, BOB, BOB);
    const bob = await PodmanLikeProcess.start(BOB, join(home, 'podman.sock'));
    const socket = join(base, 'podman.sock');
    const bind = `${process.execPath} -e "require('node:net').createServer().listen('${socket}')"`;
    const { output } = await bob.run(
      `mount -t tmpfs tmpfs ${base} && (setsid ${bind} </dev/null >/dev/null 2>&1 & echo $!)`,
    );
    const listener = Number(output);
    await until('he listens', async () => (await listeningInodes(socket)).size === 1);
    const pid = await activate(socket, 'serve');
    expect((await find(socket)).map((one) => one.pid)).toEqual([pid]);
    process.kill(listener, 'SIGKILL');
    await bob.stop();
    rmSync(home, { recursive: true });
  });

  test('is found, and nobody waits for it, while a process of hers holds 19,800 sockets', async () => {
    const socket = join(base, 'podman.sock');
    const pid = await activate(socket, 'serve');
    await using crowd = new Crowd(ALICE);
    await crowd.addSockets(19_800);
    expect(await longestStepOf(() => find(socket))).toBeLessThan(MOST_MS);
    expect((await find(socket)).map((one) => one.pid)).toEqual([pid]);
  });

  test('is found, and nobody waits for it, while a thousand processes of hers are in namespaces of their own', async () => {
    const socket = join(base, 'podman.sock');
    const pid = await activate(socket, 'serve');
    await using crowd = new Crowd(ALICE);
    await crowd.addProcesses(1000);
    expect(await longestStepOf(() => find(socket))).toBeLessThan(MOST_MS);
    expect((await find(socket)).map((one) => one.pid)).toEqual([pid]);
    let found = 0;
    const look = async () => {
      using all = await namespaces.all(ALICE);
      found = all.namespaces.length;
    };
    expect(await longestStepOf(look)).toBeLessThan(MOST_MS);
    expect(found).toBe(32);
  });

  test('is found, and nobody waits for it, while another user has tens of thousands of sockets', async () => {
    const socket = join(base, 'podman.sock');
    const pid = await activate(socket, 'serve');
    await using crowd = new Crowd(BOB);
    for (let made = 0; made < 4; made++) await crowd.addSockets(19_800);
    expect(await longestStepOf(() => find(socket))).toBeLessThan(MOST_MS);
    expect((await find(socket)).map((one) => one.pid)).toEqual([pid]);
  });
});
