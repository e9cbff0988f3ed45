import { expect, test, vi } from 'vitest';
import { asPassed, createRequest, ok, post, startSilent, WAIT } from '../../support/gate-bench.ts';

const LONG = 60_000;
const GET = 'GET /v1.0.0/libpod/version HTTP/1.1\r\nHost: u\r\n\r\n';

test('a drain lets a request in flight have its response', async () => {
  const { bench, peers } = await startSilent();
  await using _ = bench;
  const client = bench.client().write(GET);
  await vi.waitFor(() => expect(peers[0]?.text).toContain('GET'), WAIT);
  bench.gate.stopAccepting();
  const drained = bench.gate.drain(LONG);
  peers[0]?.socket.end(ok('in time'));
  await drained;
  await client.seesEnd();
  expect(client.text).toBe(ok('in time'));
});

test('a drain lets a held create go through', async () => {
  const { bench, peers } = await startSilent();
  await using _ = bench;
  const release = bench.readiness.hold();
  const client = bench.client().write(createRequest());
  await vi.waitFor(async () => expect(await bench.held()).toBe(1), WAIT);
  bench.gate.stopAccepting();
  const drained = bench.gate.drain(LONG);
  release();
  await vi.waitFor(() => expect(peers[0]?.text).toBe(asPassed(createRequest())), WAIT);
  peers[0]?.socket.end(ok('{"Id":"c0ffee"}', '201 Created'));
  await drained;
  await client.seesEnd();
  expect(client.text).toContain('c0ffee');
});

test('a drain serves who has connected and whose request is still on its way', async () => {
  const { bench, peers } = await startSilent();
  await using _ = bench;
  const client = bench.client();
  await vi.waitFor(() => expect(bench.gate.connections).toBe(1), WAIT);
  bench.gate.stopAccepting();
  const drained = bench.gate.drain(LONG);
  client.write(GET);
  await vi.waitFor(() => expect(peers[0]?.text).toContain('GET'), WAIT);
  peers[0]?.socket.end(ok('in time'));
  await drained;
  await client.sees('in time');
});

test.each([
  ['wait', post('/v1.0.0/libpod/containers/x/wait', '')],
  ['exec', post('/exec/abc/start', '{}')],
  ['attach', post('/v1.0.0/libpod/containers/x/attach', '')],
  ['following logs', 'GET /v1.0.0/libpod/containers/x/logs?follow=true HTTP/1.1\r\n\r\n'],
  ['events', 'GET /v1.0.0/libpod/events HTTP/1.1\r\n\r\n'],
])('a drain does not wait for %s', async (_, request) => {
  const { bench, peers } = await startSilent();
  await using __ = bench;
  const client = bench.client().write(request);
  await vi.waitFor(() => expect(peers[0]?.text).toContain('HTTP/1.1'), WAIT);
  bench.gate.stopAccepting();
  await bench.gate.drain(LONG);
  expect(client.hasClosed).toBe(false);
  bench.gate.cut();
  await client.seesEnd();
  await peers[0]?.seesEnd();
});

test('a drain waits for the wait by which the driver sees that a container runs', async () => {
  const { bench, peers } = await startSilent();
  await using _ = bench;
  const request = post('/v1.0.0/libpod/containers/x/wait?condition=running&condition=exited', '');
  const client = bench.client().write(request);
  await vi.waitFor(() => expect(peers[0]?.text).toContain('HTTP/1.1'), WAIT);
  const drained = bench.gate.drain(LONG);
  peers[0]?.socket.end(ok('0'));
  await drained;
  expect(client.text).toBe(ok('0'));
});

test('a drain ends when the grace is over', async () => {
  const { bench, peers } = await startSilent();
  await using _ = bench;
  bench.client().write(GET);
  await vi.waitFor(() => expect(peers[0]?.text).toContain('GET'), WAIT);
  await bench.gate.drain(10);
  bench.gate.cut();
  await peers[0]?.seesEnd();
});
