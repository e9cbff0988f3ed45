import { createHash, randomBytes } from 'node:crypto';
import { Agent, createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { expect, test, vi } from 'vitest';
import { asPassed, GateBench, ok, post, WAIT } from '../../support/gate-bench.ts';

const hash = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');

/** A Podman on node:http that gives back what it was sent: method, path and a hash of the body. */
async function start() {
  const bench = new GateBench();
  const seen = { connections: 0 };
  const server = createServer((request, response) => {
    void buffer(request).then((body) => {
      if (request.url === '/libpod/events') {
        response.write('first');
        bench.readiness.answer = async () => void response.end('last');
        return;
      }
      if (request.url === '/libpod/volumes/x/export') return void response.end(LARGE);
      response.end(JSON.stringify({ method: request.method, url: request.url, hash: hash(body) }));
    });
  });
  server.on('connection', () => {
    seen.connections += 1;
  });
  await bench.podmanOn(server);
  await bench.open();
  return { bench, seen, server };
}

const LARGE = randomBytes(24 * 1024 * 1024);

async function call(path: string, options: { agent: Agent; socketPath: string; method?: string; body?: Readable }) {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const { agent, socketPath, method = 'GET' } = options;
  const request = httpRequest({ path, method, agent, socketPath }, resolve).on('error', reject);
  if (options.body) await pipeline(options.body, request);
  else request.end();
  const response = await promise;
  return { status: response.statusCode, body: await buffer(response) };
}

test('every request has a connection of its own, which the client is told', async () => {
  const { bench, seen } = await start();
  await using _ = bench;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  for (let index = 0; index < 20; index += 1) {
    const { status, body } = await call(`/libpod/x?n=${index}`, { agent, socketPath: bench.path });
    expect(status).toBe(200);
    expect(JSON.parse(body.toString())).toMatchObject({ url: `/libpod/x?n=${index}` });
  }
  agent.destroy();
  expect(seen.connections).toBe(20);
  expect(await bench.verdicts()).toEqual({ passed: 20 });
});

test('a chunked upload and a large download come through unchanged', async () => {
  const { bench } = await start();
  await using _ = bench;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const options = { agent, socketPath: bench.path };
  const pieces = Readable.from(
    (function* () {
      for (let at = 0; at < LARGE.length; at += 100_001) yield LARGE.subarray(at, at + 100_001);
    })(),
  );
  const upload = await call('/libpod/images/import', { ...options, method: 'POST', body: pieces });
  expect(JSON.parse(upload.body.toString())).toMatchObject({ hash: hash(LARGE) });
  const download = await call('/libpod/volumes/x/export', options);
  expect(hash(download.body)).toBe(hash(LARGE));
  agent.destroy();
});

test('a streaming response arrives piece by piece, as it is sent', async () => {
  const { bench } = await start();
  await using _ = bench;
  const client = bench.client().write('GET /libpod/events HTTP/1.1\r\nHost: u\r\n\r\n');
  await client.sees('first');
  expect(client.text).not.toContain('last');
  await bench.readiness.answer(
    { allocationId: '', task: '', uid: 0, joinsNetns: false, mounts: [], volumes: [] },
    AbortSignal.abort(),
  );
  await client.sees('last');
});

test('a client that reads slowly slows Podman down, and not the gate`s memory', async () => {
  const bench = new GateBench();
  await using _ = bench;
  let sent = 0;
  await bench.rawPodman((peer) => {
    peer.socket.once('data', () => {
      peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${10 ** 12}\r\n\r\n`);
      const fill = () => {
        do sent += 65536;
        while (peer.socket.write(Buffer.alloc(65536)));
      };
      peer.socket.on('drain', fill);
      fill();
    });
  });
  await bench.open();
  const client = bench.client().write('GET /libpod/events HTTP/1.1\r\nHost: u\r\n\r\n');
  await client.sees('200 OK');
  client.socket.pause();
  let before = -1;
  // What Podman could send stops growing once all buffers on the way are full.
  await vi.waitFor(
    () => {
      const grown = sent - before;
      before = sent;
      expect(grown).toBe(0);
    },
    { timeout: 4000, interval: 200 },
  );
  expect(sent).toBeLessThan(8 * 1024 * 1024);
});

test('bytes of request and response are not touched, but for what the request says of its connection', async () => {
  const bench = new GateBench();
  await using _ = bench;
  const request = 'DELETE /libpod/containers/x?force=true HTTP/1.1\r\nhOsT:   u \r\nX-A:b\r\nX-A: \xe9\r\n\r\n';
  const response = 'HTTP/1.1 200 Fine\r\ncontent-LENGTH: 2\r\nX-B:\t c\r\n\r\n{}';
  let received = '';
  await bench.rawPodman((peer) => {
    peer.socket.on('data', () => {
      received = peer.text;
      peer.write(Buffer.from(response, 'latin1'));
    });
  });
  await bench.open();
  const client = bench.client().write(Buffer.from(request, 'latin1'));
  await client.sees('{}');
  expect(received).toBe(Buffer.from(asPassed(request), 'latin1').toString('latin1'));
  expect(client.text).toBe(response);
});

test('an upload that waits for 100 Continue gets it', async () => {
  const bench = new GateBench();
  await using _ = bench;
  await bench.rawPodman((peer) => {
    peer.socket.once('data', () => peer.write('HTTP/1.1 100 Continue\r\n\r\n'));
    void peer.sees('hello').then(() => peer.write(ok('done')));
  });
  await bench.open();
  const client = bench.client();
  client.write('POST /libpod/images/import HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n');
  await client.sees('100 Continue');
  client.write('hello');
  await client.sees('done');
});

test.each(['GET /libpod/version HTTP/1.1\r\n\r\n', post('/libpod/containers/x/start', '')])(
  'a Podman that ends just as it is asked is asked once more: %s',
  async (request) => {
    const bench = new GateBench();
    await using _ = bench;
    let asked = 0;
    await bench.rawPodman((peer) => {
      peer.socket.on('data', () => {
        // The container of the start is none of a task: the gate asks for it before.
        if (peer.text.startsWith('GET') && request.startsWith('POST')) peer.socket.end(ok('{}', '404 Not Found'));
        else if (++asked === 1) peer.socket.destroy();
        else peer.socket.end(ok('there'));
      });
    });
    await bench.open();
    const client = bench.client().write(request);
    await client.sees('there');
    expect(asked).toBe(2);
  },
);

test('what could have had an effect is not asked twice', async () => {
  const bench = new GateBench();
  await using _ = bench;
  let asked = 0;
  await bench.rawPodman((peer) => {
    asked += 1;
    peer.socket.once('data', () => peer.socket.destroy());
  });
  await bench.open();
  const client = bench.client().write(post('/v1.0.0/libpod/containers/x/exec', '{}'));
  await client.sees('closed the connection without an answer');
  expect(asked).toBe(1);
});

test('a client that leaves during a long call is reported to Podman', async () => {
  const bench = new GateBench();
  await using _ = bench;
  let ended = false;
  await bench.rawPodman((peer) => {
    peer.socket.on('end', () => {
      ended = true;
      peer.socket.end();
    });
  });
  await bench.open();
  const client = bench.client().write(post('/libpod/containers/x/wait', ''));
  await vi.waitFor(() => expect(client.socket.bytesWritten).toBeGreaterThan(0), WAIT);
  client.socket.end();
  await vi.waitFor(() => expect(ended).toBe(true), WAIT);
});

test('a client that has said its last still gets its response', async () => {
  const bench = new GateBench();
  await using _ = bench;
  await bench.rawPodman((peer) => peer.socket.on('end', () => peer.socket.end(ok('late'))));
  await bench.open();
  const client = bench.client();
  client.socket.end('GET /libpod/version HTTP/1.1\r\n\r\n');
  await client.sees('late');
  await client.seesEnd();
});

test('a response that lasts until Podman closes ends with the connection', async () => {
  const bench = new GateBench();
  await using _ = bench;
  await bench.rawPodman((peer) => peer.socket.once('data', () => peer.socket.end('HTTP/1.1 200 OK\r\n\r\nall of it')));
  await bench.open();
  const client = bench.client().write('GET /libpod/logs HTTP/1.1\r\n\r\n');
  await client.seesEnd();
  expect(client.text).toBe('HTTP/1.1 200 OK\r\n\r\nall of it');
});

test('a client whose Podman does not close after its answer is not left waiting with its next request', async () => {
  await using bench = new GateBench();
  await bench.rawPodman((peer) => void peer.socket.once('data', () => peer.write(ok('{"kept":true}'))));
  await bench.open();
  const client = bench.client().write('GET /libpod/x HTTP/1.1\r\nHost: u\r\n\r\n');
  await client.sees('{"kept":true}');
  client.write('GET /libpod/_ping HTTP/1.1\r\nHost: u\r\n\r\n');
  await client.seesEnd();
});
