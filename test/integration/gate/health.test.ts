import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { createRequest, GateBench, ID, ok, type Peer, post, WAIT, withImage } from '../../support/gate-bench.ts';

const PING = 'GET /libpod/_ping HTTP/1.1\r\nHost: u\r\n\r\n';
const INFO = 'GET /v1.0.0/libpod/info HTTP/1.1\r\nHost: u\r\n\r\n';
const INSPECT = `GET /v1.0.0/libpod/containers/t-${ID}/json HTTP/1.1\r\nHost: u\r\n\r\n`;
const IMAGE = 'GET /v1.0.0/libpod/images/registry.example/a:1/json HTTP/1.1\r\nHost: u\r\n\r\n';
const PULL = post('/v1.0.0/libpod/images/pull?reference=registry.example/a:1&tlsVerify=true', '');

/** The id of an image, or of whatever else is asked for. */
const HERS = 'a'.repeat(64);

/** A Podman that is only slow is not down. */
const PATIENCE = { timeout: 14_000, interval: 5 };

/** As Podman answers a ping. */
function pong(version = '5.4.2'): string {
  return `HTTP/1.1 200 OK\r\nLibpod-Api-Version: ${version}\r\nServer: Libpod/${version}\r\nContent-Length: 2\r\n\r\nOK`;
}

const well = (peer: Peer) =>
  void peer.socket.once('data', () => peer.socket.end(peer.text.includes('_ping') ? pong() : ok('{"host":{}}')));

async function up(bench: GateBench): Promise<void> {
  expect((await bench.metrics.userPodmanUp.get()).values).toMatchObject([{ value: 1, labels: { user: 'alice' } }]);
}

function flood(peer: Peer): void {
  peer.socket.once('data', () => {
    peer.write('HTTP/1.1 200 OK\r\n\r\n');
    const more = () => {
      while (!peer.socket.destroyed && peer.socket.write(Buffer.alloc(65536, 0x20)));
    };
    peer.socket.on('drain', more);
    more();
  });
}

/** What a user's Podman can do to who asks it. */
const TROUBLES: readonly (readonly [string, ((peer: Peer) => void) | undefined])[] = [
  ['is down', undefined],
  ['takes connections and says nothing', () => undefined],
  ['hangs up', (peer: Peer) => void peer.socket.once('data', () => peer.socket.destroy())],
  ['answers half', (peer: Peer) => void peer.socket.once('data', () => peer.write('HTTP/1.1 200 OK\r\nContent-Le'))],
  [
    'stops in the middle of the body',
    (peer: Peer) => void peer.socket.once('data', () => peer.write(ok('{}').slice(0, -1))),
  ],
  ['answers an error', (peer: Peer) => void peer.socket.once('data', () => peer.socket.end(ok('{}', '500 Oh')))],
  [
    'answers what is not of its form',
    (peer: Peer) => void peer.socket.once('data', () => peer.socket.end(ok('{"host":5}'))),
  ],
  ['answers without an end', flood],
];

describe('a ping, and what Podman is,', () => {
  test('is answered by her own Podman', async () => {
    await using bench = new GateBench();
    await bench.rawPodman(well);
    await bench.open();
    const ping = bench.client().write(PING);
    await ping.seesEnd();
    expect(ping.text).toMatch(/^HTTP\/1\.1 200 OK\r\n.*libpod-api-version: 5\.4\.2\r\n.*\r\n\r\nOK$/s);
    const info = bench.client().write(INFO);
    await info.sees('{"host":{}}');
    await up(bench);
    expect(bench.podman.health).toMatchObject({ state: 'up', version: '5.4.2' });
  });

  test.each(TROUBLES)('is answered within a second as it last was while her Podman %s', async (_, handle) => {
    await using bench = new GateBench();
    let isWell = true;
    if (handle) await bench.rawPodman((peer) => (isWell ? well(peer) : handle(peer)));
    else {
      mkdirSync(join(bench.dir, 'state', 'podman'), { recursive: true });
      const ping = { headers: { 'libpod-api-version': '5.4.2' }, body: 'OK' };
      writeFileSync(
        join(bench.dir, 'state', 'podman', 'alice.json'),
        JSON.stringify({ ping, info: { headers: {}, body: '{"host":{}}' } }),
      );
    }
    await bench.open();
    if (handle) {
      await bench.client().write(PING).sees('OK');
      await bench.client().write(INFO).sees('host');
    }
    isWell = false;
    const [ping, info] = [bench.client().write(PING), bench.client().write(INFO)];
    await ping.sees('libpod-api-version: 5.4.2');
    await info.sees('{"host":{}}');
    const down = { state: 'down', problem: expect.stringMatching(/alice/) };
    await vi.waitFor(() => expect(bench.podman.health).toMatchObject(down), PATIENCE);
    expect((await bench.metrics.userPodmanUp.get()).values[0]?.value).toBe(0);
    // One line a change, however often it is asked.
    await bench.client().write(PING).sees('5.4.2');
    expect(bench.lines.filter(({ message }) => message === 'the Podman of a user does not answer')).toHaveLength(1);
  });

  test('is answered as that of another user on this host, where hers never has', async () => {
    await using bench = new GateBench();
    await bench.open();
    const refused = bench.client().write(PING);
    await refused.sees('cannot reach the Podman of user alice');
    bench.answers.remember('bob', 'ping', { headers: { 'libpod-api-version': '4.9.3' }, body: 'OK' });
    await bench.client().write(PING).sees('libpod-api-version: 4.9.3');
  });

  test('is answered as the first of another user`s that comes while hers never has', async () => {
    await using bench = new GateBench();
    await bench.open();
    const client = bench.client().write(PING);
    await vi.waitFor(() => expect(bench.podman.health.state).toBe('down'), WAIT);
    expect(client.text).toBe('');
    bench.answers.remember('bob', 'ping', { headers: { 'libpod-api-version': '4.9.3' }, body: 'OK' });
    await client.sees('libpod-api-version: 4.9.3');
  });
});

describe('a start whose user has no Podman', () => {
  test.each([
    ['the inspect by name', INSPECT],
    ['the look for the image', IMAGE],
    ['the pull', PULL],
    ['the create', createRequest()],
    ['an inspect by id', 'GET /v1.0.0/libpod/containers/c0ffee/json HTTP/1.1\r\n\r\n'],
    ['a delete', 'DELETE /v1.0.0/libpod/containers/c0ffee?force=true HTTP/1.1\r\n\r\n'],
  ])('waits for it with %s, and goes on the moment it is there', async (_, request) => {
    await using bench = new GateBench();
    await bench.open();
    const client = bench.client().write(request);
    await vi.waitFor(() => expect(bench.podman.health.state).toBe('down'), WAIT);
    expect(client.text).toBe('');
    const answer = ok(`{"id":"${HERS}","State":{}}`);
    await bench.rawPodman((peer) => void peer.socket.once('data', () => peer.socket.end(answer)));
    await client.sees(HERS);
  });

  test('waits by one attempt for all requests that wait, and each goes on', async () => {
    await using bench = new GateBench();
    await bench.open();
    const stats = 'GET /v1.0.0/libpod/containers/c0ffee/stats?stream=false HTTP/1.1\r\n\r\n';
    const connect = vi.spyOn(bench.podman, 'connect');
    const clients = Array.from({ length: 50 }, () => bench.client().write(stats));
    await vi.waitFor(() => expect(connect.mock.calls.length).toBeGreaterThanOrEqual(clients.length), WAIT);
    connect.mockClear();
    const from = performance.now();
    await vi.waitFor(() => expect(connect.mock.calls.length).toBeGreaterThan(2), WAIT);
    // One each 200 ms; a busy machine makes them fewer.
    expect(connect.mock.calls.length).toBeLessThan((performance.now() - from) / 200 + 2);
    await bench.rawPodman((peer) => void peer.socket.once('data', () => peer.socket.end(ok('{"hers":1}'))));
    for (const client of clients) await client.sees('hers');
  });

  test('and gets none in time is told at its create why, and what to do', async () => {
    await using bench = new GateBench({ timeoutMs: 50 });
    await bench.open();
    const inspect = bench.client().write(INSPECT);
    await inspect.sees('"cause":"no such container"');
    expect(inspect.text).toMatch(/^HTTP\/1\.1 404 Not Found/);
    const image = bench.client().write(IMAGE);
    await image.sees('"Id":"');
    const [, id = ''] = /"Id":"([0-9a-f]{64})"/.exec(image.text) ?? [];
    const refused = bench.client().write(withImage(id));
    await refused.seesEnd();
    expect(refused.text).toMatch(/^HTTP\/1\.1 503 /);
    expect(refused.text).toContain('systemctl --user enable --now podman.socket');
    const pull = bench.client().write(PULL);
    await pull.sees('{"id":"');
  });

  test('that hangs gets the same', async () => {
    await using bench = new GateBench({ timeoutMs: 1000 });
    await bench.rawPodman(() => undefined);
    await bench.open();
    await bench.client().write(INSPECT).sees('no such container');
    await bench.client().write(IMAGE).sees('"Id":"');
    const create = bench.client().write(createRequest());
    await create.sees('"response":503');
    expect(create.text).toMatch(/has not answered within 0\.9 s/);
  });

  test('lets all that ask by id wait as long as one: Nomad`s client takes its tasks up one after the other', async () => {
    await using bench = new GateBench({ timeoutMs: 1000 });
    await bench.open();
    const ask = () => bench.client().write('GET /v1.0.0/libpod/containers/c0ffee/json HTTP/1.1\r\n\r\n');
    expect(bench.podman.patienceMs(1000)).toBe(1000);
    await ask().sees('"response":503');
    // What is left of that second is what the others wait, which is nothing.
    expect(bench.podman.patienceMs(1000)).toBe(0);
    await ask().sees('"response":503');
  });

  test('never hears of an id that it asks for itself that it is gone', async () => {
    await using bench = new GateBench({ timeoutMs: 50 });
    await bench.open();
    const client = bench.client().write(`GET /v1.0.0/libpod/containers/${'c0ffee00'.repeat(8)}/json HTTP/1.1\r\n\r\n`);
    await client.sees('"response":503');
  });
});
