import { createHash, randomBytes } from 'node:crypto';
import { expect, test, vi } from 'vitest';
import { createRequest, GateBench, ok, type Peer, post, WAIT } from './gate-bench.ts';

const RAW = 'HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n';
const execStart = post('/exec/abc/start', '{"Detach":false}');

async function start(handle: (peer: Peer) => void) {
  const bench = new GateBench();
  await bench.rawPodman(handle);
  await bench.gate.listen();
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

test('output goes on after the input has ended, and input after the output has', async () => {
  let podman: Peer | undefined;
  await using bench = await start((peer) => {
    podman = peer;
    peer.socket.once('data', () => peer.write(RAW));
  });
  const client = bench.client().write(execStart);
  await client.sees(RAW);
  podman?.socket.end('last output');
  await client.seesEnd();
  client.write('late input');
  await podman?.sees('late input');
  client.socket.end();
  await podman?.seesEnd();
  expect(client.text).toBe(`${RAW}last output`);
});

test('bytes behind the request, and their end, are withheld until Podman has said that it hijacks', async () => {
  let podman: Peer | undefined;
  await using bench = await start((peer) => {
    podman = peer;
  });
  const client = bench.client();
  client.socket.end(`${execStart}early input`);
  await vi.waitFor(() => expect(podman?.text).toBe(execStart), WAIT);
  expect(podman?.hasEnded).toBe(false);
  podman?.write(RAW);
  await podman?.seesEnd();
  expect(podman?.text).toBe(`${execStart}early input`);
  podman?.socket.end('output');
  await client.seesEnd();
  expect(client.text).toBe(`${RAW}output`);
});

test('after an exec that Podman refuses, a create on the same connection is held', async () => {
  const notFound = ok('{"cause":"no such exec session"}', '404 Not Found');
  let received = '';
  await using bench = await start((peer) => {
    peer.socket.on('data', (chunk: Buffer) => {
      received += chunk.toString();
      peer.write(chunk.includes('/exec/') ? notFound : ok('{"Id":"c0ffee"}', '201 Created'));
    });
  });
  const release = bench.readiness.hold();
  const client = bench.client().write(execStart);
  await client.sees('no such exec session');
  client.write(createRequest());
  await vi.waitFor(async () => expect(await bench.held()).toBe(1), WAIT);
  expect(received).toBe(execStart);
  release();
  await client.sees('c0ffee');
  expect(received).toBe(execStart + createRequest());
});

test('a create that is pipelined behind an exec is held when Podman refuses the exec', async () => {
  let received = '';
  await using bench = await start((peer) => {
    peer.socket.on('data', (chunk: Buffer) => {
      received += chunk.toString();
      peer.write(chunk.includes('/exec/') ? ok('{}', '404 Not Found') : ok('{"Id":"c0ffee"}', '201 Created'));
    });
  });
  const release = bench.readiness.hold();
  const client = bench.client().write(execStart + createRequest());
  await vi.waitFor(async () => expect(await bench.held()).toBe(1), WAIT);
  expect(received).toBe(execStart);
  release();
  await client.sees('c0ffee');
});

test('a container`s output that looks like a hijack opens no way for a create', async () => {
  const body = `HTTP/1.1 101 UPGRADED\r\n\r\n${RAW}`;
  let received = '';
  await using bench = await start((peer) => {
    peer.socket.on('data', (chunk: Buffer) => {
      received += chunk.toString();
      if (chunk.includes('/logs')) {
        peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);
        peer.write(body);
      } else peer.write(ok('{}', '404 Not Found'));
    });
  });
  bench.readiness.hold();
  const logs = 'GET /v1.0.0/libpod/containers/x/logs HTTP/1.1\r\n\r\n';
  bench.client().write(logs + execStart + createRequest());
  await vi.waitFor(async () => expect(await bench.held()).toBe(1), WAIT);
  expect(received).toBe(logs + execStart);
});

test('a HEAD request with an Upgrade header opens no way for a create', async () => {
  let received = '';
  await using bench = await start((peer) => {
    peer.socket.on('data', (chunk: Buffer) => {
      received += chunk.toString();
      peer.write('HTTP/1.1 200 OK\r\n\r\n');
    });
  });
  bench.readiness.hold();
  const head = 'HEAD /libpod/_ping HTTP/1.1\r\nUpgrade: tcp\r\n\r\n';
  bench.client().write(head + createRequest());
  await vi.waitFor(async () => expect(await bench.held()).toBe(1), WAIT);
  expect(received).toBe(head);
});
