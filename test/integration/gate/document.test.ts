import { connect, type Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { MAX_DOCUMENT_BYTES, MAX_LONG_DOCUMENT_BYTES, readDocument } from '../../../src/gate/document.ts';
import { createRequest, GateBench, ID, type Peer, post, WAIT } from '../../support/gate-bench.ts';

const ask = (target: string, method = 'GET') => `${method} /v1.0.0/libpod/${target} HTTP/1.1\r\nHost: u\r\n\r\n`;
const PIECE = Buffer.alloc(65_536, ' ');
const CHUNK = Buffer.concat([Buffer.from('10000\r\n'), PIECE, Buffer.from('\r\n')]);

/** A Podman that answers with this head, and then this piece again and again, for as long as somebody reads. */
async function endless(head: string, piece: Uint8Array) {
  const bench = new GateBench();
  const podman = { sent: 0, open: 0 };
  await bench.rawPodman(({ socket }) => {
    podman.open += 1;
    socket.once('close', () => {
      podman.open -= 1;
    });
    socket.once('data', () => {
      socket.write(head);
      const fill = () => {
        do podman.sent += piece.length;
        while (socket.writable && socket.write(piece));
      };
      socket.on('drain', fill);
      fill();
    });
  });
  await bench.open();
  return { bench, podman };
}

async function answering(answer: (peer: Peer) => void) {
  const bench = new GateBench();
  await bench.rawPodman((peer) => void peer.socket.once('data', () => answer(peer)));
  await bench.open();
  return bench;
}

// All that the driver asks, but for what streams: its api package.
const QUESTIONS: [string, string][] = [
  ['a create', createRequest()],
  ['what an image is', ask('images/docker.io/library/busybox:1/json')],
  ['what a container is, by name', ask(`containers/t-${ID}/json`)],
  ['what a container is, by id', ask('containers/abc/json')],
  ['the stats of a container', ask('containers/abc/stats?stream=false')],
  ['a stop', post('/v1.0.0/libpod/containers/abc/stop?timeout=5', '')],
  ['a wait', post('/v1.0.0/libpod/containers/abc/wait?condition=running', '')],
  ['a removal', ask('containers/abc?force=true', 'DELETE')],
  ['an exec', post('/v1.0.0/libpod/containers/abc/exec', '{}')],
  ['what an exec came to', ask('exec/abc/json')],
  ['a resize', post('/v1.0.0/libpod/exec/abc/resize?h=1&w=1', '')],
  ['whether a network is there', ask('networks/x/exists')],
  ['what is asked by who knows', ask('containers/json?all=true')],
];
test.each(QUESTIONS)('an answer without end to %s is read to its bound, and is an error', async (_, question) => {
  const { bench, podman } = await endless('HTTP/1.1 200 OK\r\n\r\n[', PIECE);
  await using _bench = bench;
  const client = bench.client().write(question);
  await client.seesEnd();
  expect(client.text).toMatch(/^HTTP\/1.1 502 /);
  expect(client.text).toMatch(/the Podman of user alice.*(more bytes than any Podman sends|a longer one)/);
  await vi.waitFor(() => expect(podman.open).toBe(0), WAIT);
  expect(podman.sent).toBeLessThan(MAX_LONG_DOCUMENT_BYTES + 4 * 1024 * 1024);
  expect(await bench.verdicts()).toMatchObject({ upstream_error: 1 });
});

test.each([
  ['of chunks', 'Transfer-Encoding: chunked', CHUNK],
  ['longer than it says', 'Content-Length: 2', PIECE],
  ['as long as it says', `Content-Length: ${10 ** 12}`, PIECE],
  ['that is all head', `X: ${'x'.repeat(100_000)}`, PIECE],
])('an answer without end %s does not pass either', async (_, header, piece) => {
  const { bench, podman } = await endless(`HTTP/1.1 200 OK\r\n${header}\r\n\r\n`, piece);
  await using _bench = bench;
  const client = bench.client().write(ask('exec/abc/resize', 'POST'));
  await client.seesEnd();
  expect(client.received.length).toBeLessThan(MAX_LONG_DOCUMENT_BYTES + PIECE.length);
  await vi.waitFor(() => expect(podman.open).toBe(0), WAIT);
});

test.each([
  ['its length', 'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"Id":"abcd"}'],
  ['a last chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{"Id":"abcd"}\r\n0\r\n\r\n'],
  ['having none', 'HTTP/1.1 204 No Content\r\n\r\n'],
])('a document is passed unchanged when it is whole, by %s, also where Podman does not close', async (_, answer) => {
  const whole = answer.replace('Content-Length: 12', 'Content-Length: 13');
  await using bench = await answering((peer) => {
    for (const byte of whole) peer.write(byte);
  });
  const client = bench.client().write(ask('networks/x/exists'));
  await client.sees(whole);
  expect(client.text).toBe(whole);
});

test.each([
  ['in chunks', 'Transfer-Encoding: chunked\r\n\r\nffffff\r\n'],
  ['of a length', 'Content-Length: 16777215\r\n\r\n'],
])('a long answer %s of which single bytes come at last is not copied for each of them', async (_, head) => {
  const [podman, peer] = duplexPair();
  const answer = readDocument(podman as Socket, 'GET', { maxBytes: MAX_LONG_DOCUMENT_BYTES, held: { bytes: 0 } });
  const concat = vi.spyOn(Buffer, 'concat');
  onTestFinished(() => concat.mockRestore());
  peer.write(Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\n${head}`), Buffer.alloc(1_000_000, 'x')]));
  for (let byte = 0; byte < 200; byte++) {
    peer.write('x');
    await setImmediate();
  }
  peer.end();
  expect((await answer)?.length).toBeGreaterThan(1_000_000);
  const copied = concat.mock.results.reduce((sum, { value }) => sum + value.length, 0);
  expect(copied).toBeLessThan(5_000_000);
});

test('a document as long as Podman may make one is passed unchanged', async () => {
  const body = Buffer.alloc(MAX_DOCUMENT_BYTES - 1000, 'x');
  await using bench = await answering(({ socket }) =>
    socket.end(Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\n\r\n'), body])),
  );
  const client = bench.client().write(ask('containers/abc/stats?stream=false'));
  await client.seesEnd();
  expect(client.received.subarray(-body.length).equals(body)).toBe(true);
});

test('an answer of which the end never comes is not held for a client that has left', async () => {
  const left = Promise.withResolvers<void>();
  await using bench = await answering((peer) => {
    peer.socket.once('end', () => left.resolve());
    peer.write('HTTP/1.1 200 OK\r\n\r\n[');
  });
  const client = bench.client().write(ask('networks/x/exists'));
  await vi.waitFor(() => expect(bench.gate.connections).toBe(1), WAIT);
  await new Promise((resolve) => setTimeout(resolve, 100));
  client.socket.destroy();
  await left.promise;
});

test('of all answers of one Podman that are not whole so much is held and no more', async () => {
  await using bench = await answering((peer) => peer.write(`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(1000)}`));
  const held = { bytes: 64 * 1024 * 1024 - 1000 };
  const podman = connect(bench.podmanPath);
  podman.write(ask('networks/x/exists'));
  expect(await readDocument(podman, 'GET', { maxBytes: MAX_DOCUMENT_BYTES, held })).toBeUndefined();
  expect(held.bytes).toBe(64 * 1024 * 1024 - 1000);
  podman.destroy();
});
