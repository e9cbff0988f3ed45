import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { RootlessError } from '../../../src/errors.ts';
import { peerCredentials } from '../../../src/linux/peer-credentials.ts';
import { connectToPodman } from '../../../src/podman/connect.ts';
import { GateBench, OWN_UID, ok, type Peer, WAIT } from '../../support/gate-bench.ts';

const GET = 'GET /libpod/version HTTP/1.1\r\nHost: u\r\n\r\n';
const answering = (peer: Peer) => void peer.socket.on('data', () => peer.socket.end(ok('OK')));

test('peer credentials are those of the process at the other end', async () => {
  await using bench = new GateBench();
  const { promise, resolve } = Promise.withResolvers<unknown>();
  await bench.rawPodman((peer) => resolve(peerCredentials(peer.socket)));
  const client = bench.client(bench.podmanPath);
  const expected = { pid: process.pid, uid: OWN_UID };
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
  await bench.open();
  const client = bench.client().write(GET);
  await client.seesEnd();
  expect(client.text).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
  expect(client.text).toContain(`nomad-rootless: uid ${OWN_UID} may not use this gate`);
  expect(client.text).toContain('"cause":"bad_peer"');
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

test('a Podman that does not run is answered with 503, its socket and the remedy', async () => {
  await using bench = new GateBench();
  await bench.open();
  const client = bench.client().write(GET);
  await client.seesEnd();
  expect(client.text).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/);
  expect(client.text).toContain(bench.podmanPath);
  expect(client.text).toContain('loginctl enable-linger alice');
  expect(client.text).toContain('systemctl --user enable --now podman.socket');
});

test('a Podman that hangs up without an answer, twice, is answered with 503', async () => {
  await using bench = new GateBench();
  await bench.rawPodman((peer) => void peer.socket.once('data', () => peer.socket.destroy()));
  await bench.open();
  const client = bench.client().write(GET);
  await client.seesEnd();
  expect(client.text).toContain('HTTP/1.1 503 Service Unavailable');
  expect(client.text).toContain('closed the connection without an answer');
});

test('a Podman that breaks off within its answer breaks the client`s connection off too', async () => {
  await using bench = new GateBench();
  const part = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf';
  await bench.rawPodman((peer) => void peer.socket.once('data', () => peer.socket.end(part)));
  await bench.open();
  const client = bench.client().write(GET);
  await client.seesEnd();
  expect(client.text).toBe(part);
});
