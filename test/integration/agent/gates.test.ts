import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Gates } from '../../../src/agent/gates.ts';
import { systemClock } from '../../../src/clock.ts';
import { ServiceManager } from '../../../src/linux/service-manager.ts';
import { listenAt, whyNotListeningAt } from '../../../src/linux/unix-listener.ts';
import { createLog } from '../../../src/log.ts';
import { createMetrics } from '../../../src/metrics.ts';
import type { HostUser } from '../../../src/reconcile/host-user.ts';
import { DIRECTORIES, ID, ManualReadiness, OWN_UID, WAIT } from '../../support/gate-bench.ts';
import { requires } from '../../support/requires.ts';
import { PlayedServiceManager } from '../../support/service-manager.ts';

const OWN_GID = process.getgid?.() ?? -1;
const ALICE: HostUser = { name: 'alice', uid: OWN_UID, gid: OWN_GID, home: '/' };
const USERS = new Map([['alice', { socket: undefined }]]);
const GET = 'GET /libpod/version HTTP/1.1\r\nHost: u\r\n\r\n';

let directory: string;
let path: string;
let played: PlayedServiceManager;
let open: Gates[];
/** Tells the gates of the account of a user, alice's where no other is named. */
let tell: (account: HostUser | undefined, name?: string) => void;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'gates-'));
  path = join(directory, 'gate', 'alice.sock');
  played = new PlayedServiceManager(join(directory, 'notify'));
  open = [];
});
afterEach(async () => {
  await Promise.all(open.map((gates) => gates.close(0)));
  played[Symbol.dispose]();
  rmSync(directory, { recursive: true });
});

/** Gates beside the played service manager, unless told. */
function gatesOf(manager = new ServiceManager(played.environment), timeoutMs = 100): Gates {
  const watched = new Map<string, (account: HostUser | undefined) => void>();
  tell = (account, name = 'alice') => watched.get(name)?.(account);
  const gates = new Gates({
    config: { gate: { dir: dirname(path), timeoutMs }, stateDir: join(directory, 'state') },
    manager,
    directories: async () => DIRECTORIES,
    readiness: new ManualReadiness(),
    clock: systemClock,
    log: createLog({ level: 'silent', format: 'json' }),
    metrics: createMetrics('0.0.0'),
    watchAccount: (name, onChange) => {
      watched.set(name, onChange);
      return () => watched.delete(name);
    },
  });
  open.push(gates);
  return gates;
}

/** The manager as the next process has it, to which a file descriptor was kept as that of alice's gate. */
function nextManager(fd: number): ServiceManager {
  const manager = new ServiceManager(played.environment);
  vi.spyOn(manager, 'take').mockImplementation((name) => (name === 'gate-alice' ? fd : undefined));
  return manager;
}

/** What a request at the gate is answered; undefined where nobody listens. */
async function ask(at = path): Promise<string | undefined> {
  const client = connect(at);
  client.on('error', () => undefined);
  client.write(GET);
  const answer = await text(client).catch(() => undefined);
  return answer === '' ? undefined : answer;
}

test('the socket file is root`s until there is an account, and then its own, 0600, in a directory that is ours alone', async () => {
  await gatesOf().follow(USERS);
  expect(statSync(path).mode & 0o7777).toBe(0o600);
  expect(statSync(dirname(path)).mode & 0o7777).toBe(0o700);
  tell({ ...ALICE, uid: OWN_UID, gid: OWN_GID });
  expect({ uid: statSync(path).uid, gid: statSync(path).gid }).toEqual({ uid: OWN_UID, gid: OWN_GID });
});

test('who connects while there is no agent waits for the next one, where the socket is kept', async () => {
  const first = gatesOf();
  await first.follow(USERS);
  await vi.waitFor(() => expect(played.kept.has('gate-alice')).toBe(true), WAIT);
  await first.close(0);
  const waiting = ask();
  const fd = played.kept.get('gate-alice') ?? -1;
  played.kept.delete('gate-alice'); // the next gate's to close
  await gatesOf(nextManager(fd)).follow(USERS);
  expect(await waiting).toContain('alice');
});

requires('root')('a kept socket', () => {
  test('keeps its owner while the account is looked up: the driver gives log FIFOs to that one meanwhile', async () => {
    const first = gatesOf();
    await first.follow(USERS);
    tell({ ...ALICE, uid: OWN_UID + 1, gid: OWN_GID });
    await vi.waitFor(() => expect(played.kept.has('gate-alice')).toBe(true), WAIT);
    await first.close(0);
    const fd = played.kept.get('gate-alice') ?? -1;
    played.kept.delete('gate-alice');
    await gatesOf(nextManager(fd)).follow(USERS);
    expect(statSync(path).uid).toBe(OWN_UID + 1);
  });
});

test('where nobody keeps it the socket goes with the agent', async () => {
  const gates = gatesOf(new ServiceManager({}));
  await gates.follow(USERS);
  expect(await ask()).toContain('alice');
  await gates.close(0);
  expect(existsSync(path)).toBe(false);
});

test.each([
  ['a file', () => openSync('/etc/hostname', 'r')],
  [
    'a socket of another path',
    () => listenAt(join(directory, 'other.sock'), { uid: OWN_UID, gid: OWN_GID, mode: 0o600 }),
  ],
])('%s that was kept as that of a gate is not used, and the gate listens all the same', async (_, make) => {
  await gatesOf(nextManager(make())).follow(USERS);
  expect(await ask()).toContain('alice');
});

test('a kept socket whose file was removed is not used: nobody could connect to it', async () => {
  const first = gatesOf();
  await first.follow(USERS);
  await vi.waitFor(() => expect(played.kept.has('gate-alice')).toBe(true), WAIT);
  await first.close(0);
  rmSync(path);
  const fd = played.kept.get('gate-alice') ?? -1;
  played.kept.delete('gate-alice');
  expect(whyNotListeningAt(fd, path)).toContain('there is no socket');
  await gatesOf(nextManager(fd)).follow(USERS);
  expect(await ask()).toContain('alice');
});

test('a user who leaves the configuration takes her gate along, and what was kept of it', async () => {
  const gates = gatesOf();
  await gates.follow(USERS);
  await vi.waitFor(() => expect(played.kept.has('gate-alice')).toBe(true), WAIT);
  await gates.follow(new Map());
  expect(existsSync(path)).toBe(false);
  await vi.waitFor(() => expect(played.kept.size).toBe(0), WAIT);
  expect(gates.users()).toEqual([]);
});

test('a directory that others can enter is refused', async () => {
  mkdirSync(dirname(path));
  chmodSync(dirname(path), 0o750);
  await expect(gatesOf().follow(USERS)).rejects.toMatchObject({ code: 'socket_directory_open' });
});

test('a symlink in place of the directory is refused', async () => {
  mkdirSync(join(directory, 'elsewhere'), { mode: 0o700 });
  symlinkSync(join(directory, 'elsewhere'), dirname(path));
  await expect(gatesOf().follow(USERS)).rejects.toMatchObject({ code: 'socket_directory_open' });
});

test('a file that is no socket is refused and left alone', async () => {
  mkdirSync(dirname(path), { mode: 0o700 });
  writeFileSync(path, 'x');
  await expect(gatesOf().follow(USERS)).rejects.toMatchObject({ code: 'not_a_socket' });
  expect(existsSync(path)).toBe(true);
});

test('the socket file of a killed predecessor is replaced', async () => {
  mkdirSync(dirname(path), { mode: 0o700 });
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)})`;
  const predecessor = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
  await vi.waitFor(() => expect(existsSync(path)).toBe(true), WAIT);
  predecessor.kill('SIGKILL');
  await once(predecessor, 'exit');
  expect(existsSync(path)).toBe(true);
  await gatesOf().follow(USERS);
  expect(await ask()).toContain('alice');
});

test.each([
  ['keeps the sockets', () => new ServiceManager(played.environment)],
  ['keeps none', () => new ServiceManager({})],
])(
  'what waits for the account of its user is answered by an agent that stops, where systemd %s',
  async (_, manager) => {
    const socket = join(directory, 'podman.sock');
    const said = 'HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\n\r\n{"cause":"of hers"}';
    const podman = createServer((client) => client.once('data', () => client.end(said)));
    await new Promise<void>((resolve) => podman.listen(socket, resolve));
    const gates = gatesOf(manager(), 10_000);
    await gates.follow(new Map([['alice', { socket }]]));
    const client = connect(path);
    client.write(`GET /libpod/containers/t-${ID}/json HTTP/1.1\r\nHost: u\r\n\r\n`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const closing = gates.close(10_000);
    await new Promise((resolve) => setTimeout(resolve, 100));
    tell(ALICE);
    expect(await text(client)).toContain('of hers');
    await closing;
    podman.close();
  },
);

test.each([
  ['keeps the sockets', () => new ServiceManager(played.environment)],
  ['keeps none', () => new ServiceManager({})],
])(
  "while an agent that stops waits for a request of one user's, other users are served, where systemd %s",
  async (_, manager) => {
    const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK';
    const { promise: asked, resolve: onAsked } = Promise.withResolvers<Socket>();
    const podmans = ['alice', 'bob'].map((name) =>
      createServer((client) => {
        client.on('error', () => undefined);
        client.once('data', (data) => {
          if (name === 'alice' && data.includes('/version')) onAsked(client);
          else client.end(OK);
        });
      }).listen(join(directory, name)),
    );
    const gates = gatesOf(manager(), 10_000);
    await gates.follow(new Map(['alice', 'bob'].map((name) => [name, { socket: join(directory, name) }])));
    for (const name of ['alice', 'bob']) tell({ ...ALICE, name }, name);
    const lasting = ask();
    const held = await asked;
    await new Promise((resolve) => setTimeout(resolve, 1100)); // it lasts
    const closing = gates.close(10_000);
    for (let turn = 0; turn < 5; turn++) {
      expect(await ask(join(dirname(path), 'bob.sock')), `turn ${turn}`).toMatch(/^HTTP\/1.1 200 OK/);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    held.end(OK);
    expect(await lasting).toMatch(/^HTTP\/1.1 200 OK/);
    await closing;
    for (const podman of podmans) podman.close();
  },
);

test('a gate that lives is not replaced', async () => {
  mkdirSync(dirname(path), { mode: 0o700 });
  const living = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => living.listen(path, resolve));
  await expect(gatesOf().follow(USERS)).rejects.toMatchObject({ code: 'socket_in_use' });
  expect(existsSync(path)).toBe(true);
  living.close();
});

test('the gates are answering once some Podman has said what it is, or none could', async () => {
  const gates = gatesOf();
  await gates.follow(USERS);
  let isAnswering = false;
  const answering = gates.whenAnswering(60_000).then(() => {
    isAnswering = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(isAnswering).toBe(false);
  tell({ ...ALICE, uid: OWN_UID, gid: OWN_GID }); // whose Podman is not there
  await answering;
});
