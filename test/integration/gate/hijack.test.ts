import { createHash, randomBytes } from 'node:crypto';
import { expect, test, vi } from 'vitest';
import { asPassed, createRequest, GateBench, ok, type Peer, post, WAIT } from '../../support/gate-bench.ts';

const RAW = 'HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n';
const execStart = post('/exec/abc/start', '{"Detach":false}');

async function start(handle: (peer: Peer) => void) {
  const bench = new GateBench();
  await bench.rawPodman(handle);
  await bench.open();
  return bench;
}

test.each([
  ['without an Upgrade header', execStart, RAW],
  [
    'with an Upgrade header',
    execStart.replace('Host', 'Upgrade: tcp\r\nHost'),
    'HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n',
  ],
  ['of attach', post('/v1.0.0/libpod/containers/x/attach?stream=1', ''), RAW],
])('a hijack %s speaks raw bytes both ways, and carries each side`s end', async (_, request, answer) => {
  const input = randomBytes(3 * 1024 * 1024);
  const output = randomBytes(2 * 1024 * 1024);
  let received: Peer | undefined;
  await using bench = await start((peer) => {
    received = peer;
    void peer.sees('\r\n\r\n').then(() => {
      peer.take();
      peer.write(answer);
    });
    // The command reads all its input, then writes all its output: it needs the end of the one to begin the other.
    peer.socket.on('end', () => peer.socket.end(output));
  });
  const client = bench.client().write(request);
  await client.sees(answer);
  client.take();
  client.socket.end(input);
  await client.seesEnd();
  const hash = (data: Buffer) => createHash('sha256').update(data).digest('hex');
  expect(hash(received?.received ?? Buffer.alloc(0))).toBe(hash(input));
  expect(hash(client.received)).toBe(hash(output));
});

test('what follows the request reaches Podman at once: the client begins to speak before it has an answer', async () => {
  let podman: Peer | undefined;
  await using bench = await start((peer) => {
    podman = peer;
  });
  const client = bench.client();
  client.socket.end(`${execStart}early input`);
  await vi.waitFor(() => expect(podman?.text).toBe(`${asPassed(execStart)}early input`), WAIT);
  await podman?.seesEnd();
  podman?.socket.end(`${RAW}output`);
  await client.seesEnd();
  expect(client.text).toBe(`${RAW}output`);
});

test('whoever may speak raw bytes is told to close afterwards, so that no create behind it is a request', async () => {
  let received = '';
  await using bench = await start((peer) => {
    peer.socket.on('data', (chunk: Buffer) => {
      received += chunk.toString();
    });
    // As Go's server answers a request that says so: it reads no further one.
    peer.socket.once('data', () => peer.socket.end(ok('{"cause":"no such exec session"}', '404 Not Found')));
  });
  const client = bench.client().write(execStart + createRequest());
  await client.seesEnd();
  expect(client.text).toContain('no such exec session');
  expect(client.text.match(/HTTP\/1\.1/g)).toHaveLength(1);
  expect(received.split('\r\n\r\n')[0]).toMatch(/\r\nConnection: close$/);
  expect(bench.readiness.asked).toEqual([]);
});

test.each([
  ['the events', 'GET /v1.0.0/libpod/events HTTP/1.1\r\n\r\n'],
  ['a request with a body', post('/v1.0.0/libpod/containers/x/exec', '{}')],
  ['a ping', 'HEAD /libpod/_ping HTTP/1.1\r\n\r\n'],
])('a create behind %s never reaches Podman, whatever it answers', async (_, first) => {
  let received = '';
  await using bench = await start((peer) => {
    peer.socket.on('data', (chunk: Buffer) => {
      received += chunk.toString();
      peer.write(`HTTP/1.1 101 UPGRADED\r\n\r\n${RAW}`);
    });
  });
  const client = bench.client().write(first + createRequest());
  await client.sees('raw-stream');
  client.write(createRequest());
  // Bytes of the client that are not read at all would show as much.
  await vi.waitFor(() => expect(client.socket.bytesWritten).toBe(first.length + 2 * createRequest().length), WAIT);
  await new Promise((resolve) => setImmediate(resolve));
  expect(received).toBe(asPassed(first));
});

test('an Upgrade stays one, and is asked to close as well', async () => {
  let received = '';
  await using bench = await start((peer) => {
    peer.socket.on('data', (chunk: Buffer) => {
      received += chunk.toString();
    });
  });
  const request = 'POST /libpod/containers/x/attach HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n';
  bench.client().write(request);
  const expected = 'POST /libpod/containers/x/attach HTTP/1.1\r\nUpgrade: tcp\r\nConnection: close, Upgrade\r\n\r\n';
  await vi.waitFor(() => expect(received).toBe(expected), WAIT);
});
