import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { RootlessError } from '../../../src/errors.ts';
import { peerCredentials } from '../../../src/linux/peer-credentials.ts';
import { connectToPodman } from '../../../src/podman/connect.ts';
import { GateBench, OWN_UID, ok, type Peer, WAIT } from './gate-bench.ts';

const PING = 'GET /libpod/_ping HTTP/1.1\r\nHost: u\r\n\r\n';
const answering = (peer: Peer) => void peer.socket.on('data', () => peer.write(ok('OK')));

test('peer credentials are those of the process at the other end', async () => {
  await using bench = new GateBench();
  const { promise, resolve } = Promise.withResolvers<unknown>();
  await bench.rawPodman((peer) => resolve(peerCredentials(peer.socket)));
  const client = bench.client(bench.podmanPath);
  const expected = { pid: process.pid, uid: OWN_UID, gid: process.getgid?.() };
  expect(await promise).toEqual(expected);
  expect(peerCredentials(client.socket)).toEqual(expected);
});

test('peer credentials of a closed socket are an error, not somebody else`s', async () => {
  await using bench = new GateBench();
  await bench.rawPodman(answering);
  const client = bench.client(bench.podmanPath);
  client.socket.destroy();
  expect(() => peerCredentials(client.socket)).toThrow(RootlessError);
});

test('a client that is not root`s, here of another uid than required, is turned away unheard', async () => {
  await using bench = new GateBench({ requiredPeerUid: OWN_UID + 1 });
  let connections = 0;
  await bench.rawPodman(() => {
    connections += 1;
  });
  await bench.gate.listen();
  const client = bench.client().write(PING);
  await client.seesEnd();
  expect(client.text).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
  expect(client.text).toContain(`nomad-rootless: uid ${OWN_UID} may not use this gate`);
  expect(connections).toBe(0);
  expect(await bench.verdicts()).toEqual({ bad_peer: 1 });
});

test('a socket that somebody else than the user serves gets not a byte', async () => {
  await using bench = new GateBench();
  let heard = '';
  await bench.rawPodman((peer) => void peer.socket.on('data', () => (heard = peer.text)));
  const link = join(bench.dir, 'bobs.sock');
  symlinkSync(bench.podmanPath, link);
  const bob = { name: 'bob', uid: OWN_UID + 1, gid: OWN_UID + 1, home: '/', socket: bench.podmanPath };
  await expect(connectToPodman({ ...bob, socket: link })).rejects.toThrow('cannot reach the Podman of user bob');
  await expect(connectToPodman(bob)).rejects.toThrow(
    `is served by uid ${OWN_UID}, not by user bob (uid ${OWN_UID + 1})`,
  );
  const own = await connectToPodman({ ...bob, uid: OWN_UID });
  own.write('to the user');
  await vi.waitFor(() => expect(heard).toBe('to the user'), WAIT);
  own.destroy();
});

test('a Podman that does not run is answered with 502, its socket and the remedy', async () => {
  await using bench = new GateBench();
  await bench.gate.listen();
  const client = bench.client().write(PING);
  await client.seesEnd();
  expect(client.text).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n/);
  expect(client.text).toContain(bench.podmanPath);
  expect(client.text).toContain('loginctl enable-linger alice');
  expect(client.text).toContain('systemctl --user enable --now podman.socket');
});

test('a Podman that hangs up without an answer is answered with 502', async () => {
  await using bench = new GateBench();
  await bench.rawPodman((peer) => void peer.socket.once('data', () => peer.socket.destroy()));
  await bench.gate.listen();
  const client = bench.client().write(PING);
  await client.seesEnd();
  expect(client.text).toContain('HTTP/1.1 502 Bad Gateway');
  expect(client.text).toContain('closed the connection without an answer');
});

test('a Podman that breaks off within its answer breaks the client`s connection off too', async () => {
  await using bench = new GateBench();
  const part = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf';
  await bench.rawPodman((peer) => void peer.socket.once('data', () => peer.socket.end(part)));
  await bench.gate.listen();
  const client = bench.client().write(PING);
  await client.seesEnd();
  expect(client.text).toBe(part);
});

test('the socket file is the user`s, 0600, in a directory that is ours alone', async () => {
  await using bench = new GateBench();
  await bench.gate.listen();
  const file = statSync(bench.path);
  expect({ mode: file.mode & 0o7777, uid: file.uid }).toEqual({ mode: 0o600, uid: OWN_UID });
  expect(statSync(dirname(bench.path)).mode & 0o7777).toBe(0o700);
});

test('a directory that others can enter is refused', async () => {
  await using bench = new GateBench();
  mkdirSync(dirname(bench.path));
  chmodSync(dirname(bench.path), 0o750);
  await expect(bench.gate.listen()).rejects.toMatchObject({ code: 'socket_directory_open' });
});

test('a symlink in place of the directory is refused', async () => {
  await using bench = new GateBench();
  mkdirSync(join(bench.dir, 'elsewhere'), { mode: 0o700 });
  symlinkSync(join(bench.dir, 'elsewhere'), dirname(bench.path));
  await expect(bench.gate.listen()).rejects.toMatchObject({ code: 'socket_directory_open' });
});

test('a file that is no socket is refused and left alone', async () => {
  await using bench = new GateBench();
  mkdirSync(dirname(bench.path), { mode: 0o700 });
  writeFileSync(bench.path, 'x');
  await expect(bench.gate.listen()).rejects.toMatchObject({ code: 'not_a_socket' });
  expect(existsSync(bench.path)).toBe(true);
});

test('the socket file of a killed predecessor is replaced', async () => {
  await using bench = new GateBench();
  mkdirSync(dirname(bench.path), { mode: 0o700 });
  const script = `require('node:net').createServer().listen(${JSON.stringify(bench.path)})`;
  const predecessor = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
  await vi.waitFor(() => expect(existsSync(bench.path)).toBe(true), WAIT);
  const exited = new Promise((resolve) => predecessor.once('exit', resolve));
  predecessor.kill('SIGKILL');
  await exited;
  expect(existsSync(bench.path)).toBe(true);
  await bench.rawPodman(answering);
  await bench.gate.listen();
  const client = bench.client().write(PING);
  await client.sees('OK');
});

test('a gate that lives is not replaced', async () => {
  await using bench = new GateBench();
  mkdirSync(dirname(bench.path), { mode: 0o700 });
  const living = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => living.listen(bench.path, resolve));
  await expect(bench.gate.listen()).rejects.toMatchObject({ code: 'socket_in_use' });
  expect(existsSync(bench.path)).toBe(true);
  living.close();
  rmSync(bench.path, { force: true });
});
