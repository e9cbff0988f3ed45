import { expect, test, vi } from 'vitest';
import { asPassed, createRequest, GateBench, ok, post, WAIT } from '../../support/gate-bench.ts';

/** A Podman that answers whatever it reads, and a readiness that never comes: whatever creates reach it slipped past. */
async function start() {
  const bench = new GateBench();
  const podman = { received: '' };
  await bench.rawPodman((peer) => {
    peer.socket.on('data', (chunk: Buffer) => {
      podman.received += chunk.toString('latin1');
      peer.socket.end(ok('{}'));
    });
    peer.socket.on('end', () => peer.socket.end());
  });
  bench.readiness.hold();
  await bench.open();
  return { bench, podman };
}

const smuggled = createRequest();
test.each([
  ['both lengths', `Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`],
  ['two lengths', `Content-Length: 0\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`],
  ['a space before the colon', `Content-Length: ${smuggled.length}\r\nTransfer-Encoding : chunked\r\n\r\n${smuggled}`],
  ['a folded coding', `Content-Length: ${smuggled.length}\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n${smuggled}`],
  ['a coding behind a bare LF', `X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`],
  ['an unknown coding', `Transfer-Encoding: xchunked\r\n\r\n${smuggled}`],
  ['a signed length', `Content-Length: +${smuggled.length}\r\n\r\n${smuggled}`],
  ['an empty line of bare LFs', `X: y\n\n${smuggled}`],
])('a request with %s is turned away whole', async (_, rest) => {
  const { bench, podman } = await start();
  await using __ = bench;
  const client = bench.client().write(`POST /libpod/images/import HTTP/1.1\r\nHost: u\r\n${rest}`);
  await client.seesEnd();
  expect(client.text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  expect(client.text).toContain('"message":"nomad-rootless: ');
  expect(client.text.match(/HTTP\/1\.1/g)).toHaveLength(1);
  expect(podman.received).toBe('');
  expect(await bench.verdicts()).toEqual({ bad_request: 1 });
});

test('behind a chunked body nothing is a request: Podman is told to close after the one', async () => {
  const { bench, podman } = await start();
  await using _ = bench;
  const head = 'POST /libpod/images/import HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n';
  const client = bench.client().write(`${head}0\r\n\r\n${smuggled}`);
  await client.seesEnd();
  expect(podman.received).toMatch(
    /^POST \/libpod\/images\/import HTTP\/1\.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n/,
  );
  expect(bench.readiness.asked).toEqual([]);
});

test('a create inside the body of another request stays a body', async () => {
  const { bench, podman } = await start();
  await using _ = bench;
  const outer = post('/libpod/images/import', smuggled);
  const client = bench.client().write(outer);
  await client.sees('200 OK');
  expect(podman.received).toBe(asPassed(outer));
});

test.each([
  '/v1.0.0/libpod/containers/%63reate',
  '/v1.0.0//libpod/./containers/x/../create',
  '/v1.0.0/libpod/containers%2fcreate',
  '/libpod/containers/create/',
  '/v1.0.0/LIBPOD/containers/Create?x',
])('a create that is spelt %s is held', async (path) => {
  const { bench, podman } = await start();
  await using _ = bench;
  bench.client().write(createRequest(undefined, path));
  await vi.waitFor(async () => expect(await bench.held()).toBe(1), WAIT);
  expect(podman.received).toBe('');
});

test.each(['/containers/create', '/v1.41/containers/create?name=x', '/libpod/play/kube', '/libpod/pods/create'])(
  'POST %s is refused, since it names no allocation',
  async (path) => {
    const { bench, podman } = await start();
    await using _ = bench;
    const client = bench.client().write(post(path, '{}'));
    await client.seesEnd();
    expect(client.text).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
    expect(client.text).toContain('names no allocation');
    expect(podman.received).toBe('');
    expect(await bench.verdicts()).toEqual({ refused: 1 });
  },
);

test('what follows a request that was turned away is not served', async () => {
  const { bench, podman } = await start();
  await using _ = bench;
  const client = bench.client().write(`GET / HTTP/1.0\r\n\r\nGET /libpod/info HTTP/1.1\r\n\r\n${smuggled}`);
  await client.seesEnd();
  expect(podman.received).toBe('');
  expect(await bench.held()).toBe(0);
});

test('a client that still sends a large body when it is turned away can send it all, and reads why', async () => {
  const { bench } = await start();
  await using _ = bench;
  const client = bench.client().write(post('/libpod/build', 'x'.repeat(8 * 1024 * 1024)));
  await client.sees('HTTP/1.1 403 Forbidden');
  await vi.waitFor(() => expect(client.socket.writableLength).toBe(0), { ...WAIT, timeout: 900 });
});
