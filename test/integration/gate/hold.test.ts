import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test, vi } from 'vitest';
import { NotYetError, RefusedError } from '../../../src/errors.ts';
import { noteLeft } from '../../../src/linux/left-child.ts';
import { asPassed, createRequest, GateBench, ID, OWN_UID, ok, post, WAIT } from '../../support/gate-bench.ts';

/** A bench whose Podman answers every create with 201, and notes what it received. */
async function start(changes: ConstructorParameters<typeof GateBench>[0] = {}) {
  const bench = new GateBench(changes);
  const podman = { received: '', connections: 0 };
  await bench.rawPodman((peer) => {
    podman.connections += 1;
    peer.socket.on('data', (chunk: Buffer) => {
      podman.received += chunk.toString();
      peer.socket.end(ok('{"Id":"c0ffee"}', '201 Created'));
    });
    peer.socket.on('end', () => peer.socket.end());
  });
  await bench.open();
  return { bench, podman };
}

test('a create of a ready allocation reaches Podman byte for byte, but for what it says of its connection', async () => {
  const { bench, podman } = await start();
  await using _ = bench;
  const client = bench.client().write(createRequest());
  await client.sees('c0ffee');
  expect(podman.received).toBe(asPassed(createRequest()));
  expect(client.text).toBe(ok('{"Id":"c0ffee"}', '201 Created'));
  expect(bench.readiness.asked).toEqual([
    { allocationId: ID, task: 't', uid: OWN_UID, joinsNetns: false, mounts: ['alloc'], volumes: [] },
  ]);
  expect(await bench.verdicts()).toEqual({ created: 1 });
});

test('a create is held, whole, until its allocation is ready', async () => {
  const { bench, podman } = await start();
  await using _ = bench;
  const release = bench.readiness.hold();
  const client = bench.client().write(createRequest());
  await vi.waitFor(async () => expect(await bench.held()).toBe(1), WAIT);
  // Another client gets through meanwhile, so the gate had its chance to let the create slip.
  const other = bench.client().write('GET /libpod/version HTTP/1.1\r\n\r\n');
  await other.sees('c0ffee');
  expect(podman.received).not.toContain('POST');
  expect(client.text).toBe('');
  expect(bench.holds.list()).toMatchObject([{ user: 'alice', allocationId: ID, task: 't' }]);
  release();
  await client.sees('c0ffee');
  expect(podman.received).toContain(asPassed(createRequest()));
  expect(await bench.held()).toBe(0);
  expect(bench.holds.list()).toEqual([]);
  expect(bench.lines.find(({ message }) => message === 'the gate let a create through')?.fields).toMatchObject({
    allocation: ID,
    task: 't',
    ms: expect.any(Number),
  });
  const { values } = await bench.metrics.gateHoldSeconds.get();
  expect(values.find(({ metricName }) => metricName?.endsWith('_count'))?.value).toBe(1);
});

test('a create that comes byte by byte is held the same', async () => {
  const { bench, podman } = await start();
  await using _ = bench;
  const release = bench.readiness.hold();
  const client = bench.client();
  client.socket.setNoDelay(true);
  for (const byte of Buffer.from(createRequest())) client.write(Buffer.from([byte]));
  await vi.waitFor(async () => expect(await bench.held()).toBe(1), WAIT);
  expect(podman.connections).toBe(0);
  release();
  await client.sees('c0ffee');
  expect(podman.received).toBe(asPassed(createRequest()));
});

test('a refusal of the reconciler reaches the job author in libpod`s form', async () => {
  const { bench, podman } = await start();
  await using _ = bench;
  const reason = `allocation ${ID} has no podman_user in its meta; add meta { podman_user = "alice" } to the job, group or task`;
  bench.readiness.answer = async () => {
    throw new RefusedError('no_podman_user', reason);
  };
  const client = bench.client().write(createRequest());
  await client.sees('nomad-rootless');
  const [head = '', body = ''] = client.take().split('\r\n\r\n');
  expect(head).toContain('HTTP/1.1 403 Forbidden\r\ncontent-type: application/json');
  expect(JSON.parse(body)).toEqual({ cause: 'no_podman_user', message: `nomad-rootless: ${reason}`, response: 403 });
  expect(podman.connections).toBe(0);
  expect(await bench.verdicts()).toEqual({ refused: 1 });
});

test('what may be so in a moment is answered with 503', async () => {
  const { bench } = await start();
  await using _ = bench;
  bench.readiness.answer = async () => {
    throw new NotYetError('nomad_unreachable', 'Nomad cannot be asked');
  };
  const client = bench.client().write(createRequest());
  await client.sees('"response":503');
  expect(client.text).toContain('nomad-rootless: Nomad cannot be asked');
});

test('an allocation that is not ready in time is answered with 504, and never created after it', async () => {
  const { bench, podman } = await start({ timeoutMs: 20 });
  await using _ = bench;
  const release = bench.readiness.hold();
  const client = bench.client().write(createRequest());
  await client.sees('"response":504');
  expect(client.take()).toContain(`nomad-rootless: allocation ${ID} was not ready for user alice within 0.02 s`);
  release();
  await bench.client().write('GET /libpod/version HTTP/1.1\r\n\r\n').sees('c0ffee');
  expect(podman.received).not.toContain('POST');
  expect(await bench.verdicts()).toEqual({ timeout: 1, passed: 1 });
});

test('a client that leaves while its create is held abandons it', async () => {
  const { bench, podman } = await start();
  await using _ = bench;
  let reason: unknown;
  bench.readiness.answer = (_request, signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        reason = signal.reason;
        reject(signal.reason);
      });
    });
  const client = bench.client().write(createRequest());
  await vi.waitFor(async () => expect(await bench.held()).toBe(1), WAIT);
  client.socket.destroy();
  await vi.waitFor(async () => expect(await bench.verdicts()).toEqual({ abandoned: 1 }), WAIT);
  expect(reason).toBeInstanceOf(Error);
  expect(await bench.held()).toBe(0);
  expect(podman.connections).toBe(0);
});

test('a create that names no allocation is refused before the reconciler is asked', async () => {
  const { bench, podman } = await start();
  await using _ = bench;
  const client = bench.client().write(post('/v1.0.0/libpod/containers/create', '{"name":"x"}'));
  await client.sees('"response":403');
  expect(client.text).toContain('nomad-rootless: no mount of the container lies below /var/lib/nomad/alloc/');
  expect(bench.readiness.asked).toEqual([]);
  expect(podman.connections).toBe(0);
});

test.each([
  ['a chunked body', 'Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n'],
  ['more than 4 MiB', `Content-Length: ${4 * 1024 * 1024 + 1}\r\n\r\n`],
  ['an Expect header', 'Content-Length: 2\r\nExpect: 100-continue\r\n\r\n'],
  ['a body that is no JSON', 'Content-Length: 2\r\n\r\n{{'],
  ['no body', '\r\n'],
])('a create with %s is refused', async (_, rest) => {
  const { bench, podman } = await start();
  await using __ = bench;
  const client = bench.client().write(`POST /v1.0.0/libpod/containers/create HTTP/1.1\r\nHost: u\r\n${rest}`);
  await client.seesEnd();
  expect(client.text).toContain('HTTP/1.1 400 Bad Request');
  expect(client.text).toContain('connection: close');
  expect(podman.connections).toBe(0);
  expect(await bench.verdicts()).toEqual({ bad_request: 1 });
});

test('a create of almost 4 MiB passes', async () => {
  const bench = new GateBench();
  await using _ = bench;
  await bench.rawPodman((peer) => void peer.sees('"end":1}').then(() => peer.socket.end(ok('{}'))));
  await bench.open();
  const body = JSON.parse(createRequest().split('\r\n\r\n')[1] ?? '');
  const large = JSON.stringify({ ...body, env: { A: 'x'.repeat(4 * 1024 * 1024 - 400) }, end: 1 });
  const client = bench.client().write(post('/libpod/containers/create', large));
  await client.sees('200 OK');
});

test('the driver`s inspect lets preparing start', async () => {
  const { bench } = await start();
  await using _ = bench;
  const client = bench.client().write(`GET /v1.0.0/libpod/containers/t-${ID}/json HTTP/1.1\r\nHost: u\r\n\r\n`);
  await client.sees('c0ffee');
  expect(bench.readiness.prepared).toEqual([ID]);
});

test('no body and no environment is ever logged, and refusals say which allocation and why', async () => {
  const { bench } = await start();
  await using _ = bench;
  bench.readiness.answer = async () => {
    throw new RefusedError('unknown_user', 'there is no such user');
  };
  const client = bench.client().write(createRequest());
  await client.sees('no such user');
  await bench.client().write(post('/libpod/containers/create', '{"env":{"SECRET":"hunter2"}')).seesEnd();
  expect(JSON.stringify(bench.lines)).not.toContain('hunter2');
  expect(bench.lines[0]?.fields).toMatchObject({
    allocation: ID,
    code: 'unknown_user',
    reason: 'there is no such user',
  });
});

test.each([
  ['a create that names nothing', post('/v1.0.0/libpod/containers/create', '{"name":"x"}'), '"response":403'],
  ['a create that cannot be read', post('/v1.0.0/libpod/containers/create', '{{'), '"response":400'],
  ['an image archive', post('/v1.0.0/libpod/images/load', 'x'), '"response":403'],
  ['a pull, which may fail at once', post('/v1.0.0/libpod/images/pull?reference=x', ''), '{"id":"'],
])('%s has its answer only when nothing is being done to the allocation that starts', async (_, request, answer) => {
  const { bench } = await start();
  await using __ = bench;
  const { promise, resolve } = Promise.withResolvers<void>();
  const asked: string[] = [];
  bench.readiness.idle = (id) => {
    asked.push(id);
    return promise;
  };
  await bench.client().write(`GET /v1.0.0/libpod/containers/t-${ID}/json HTTP/1.1\r\nHost: u\r\n\r\n`).sees('c0ffee');
  const client = bench.client().write(request);
  await vi.waitFor(() => expect(asked).toEqual([ID]), WAIT);
  expect(client.text).toBe('');
  resolve();
  await client.sees(answer);
});

test('a create that joins a network is held while it cannot be said whether it may, and goes on when it can', async () => {
  const { bench } = await start();
  await using _ = bench;
  const left = spawn('sleep', ['60'], { stdio: 'ignore' });
  noteLeft(OWN_UID, left);
  const create = JSON.parse(createRequest().split('\r\n\r\n')[1] ?? '');
  const netns = { nsmode: 'path', value: `/var/run/netns/${ID}` };
  const client = bench.client().write(post('/v1.0.0/libpod/containers/create', JSON.stringify({ ...create, netns })));
  await vi.waitFor(async () => expect(await bench.held()).toBe(1), WAIT);
  await expect(client.sees('HTTP')).rejects.toThrow();
  left.kill();
  await client.sees('c0ffee');
  expect(bench.readiness.asked).toMatchObject([{ joinsNetns: true }]);
});

test('a create that joins a network says in the end why it could not be said whether it may', async () => {
  const { bench } = await start({ timeoutMs: 700 });
  await using _ = bench;
  const left = spawn('sleep', ['60'], { stdio: 'ignore' });
  noteLeft(OWN_UID, left);
  const create = JSON.parse(createRequest().split('\r\n\r\n')[1] ?? '');
  const netns = { nsmode: 'path', value: `/var/run/netns/${ID}` };
  const client = bench.client().write(post('/v1.0.0/libpod/containers/create', JSON.stringify({ ...create, netns })));
  await client.sees(`process ${left.pid}, which was to read`);
  expect(client.text).toMatch(/^HTTP\/1.1 504 /);
  left.kill();
  await once(left, 'exit');
});
