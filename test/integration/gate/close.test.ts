import { existsSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { createRequest, GateBench, ok, type Peer, WAIT } from './gate-bench.ts';

const LONG = 60_000;

async function start() {
  const bench = new GateBench();
  const peers: Peer[] = [];
  await bench.rawPodman((peer) => void peers.push(peer));
  await bench.gate.listen();
  return { bench, peers };
}

test('closing ends idle connections at once and takes no new ones', async () => {
  const { bench, peers } = await start();
  await using _ = bench;
  const client = bench.client().write('GET / HTTP/1.1\r\n\r\n');
  await vi.waitFor(() => expect(peers[0]?.text).toContain('GET'), WAIT);
  peers[0]?.write(ok('{}'));
  await client.sees('{}');
  await bench.gate.close({ graceMs: LONG });
  await client.seesEnd();
  expect(existsSync(bench.path)).toBe(false);
  const late = bench.client();
  await late.seesEnd();
  expect(late.text).toBe('');
});

test('closing lets a request in flight have its response', async () => {
  const { bench, peers } = await start();
  await using _ = bench;
  const client = bench.client().write('GET / HTTP/1.1\r\n\r\n');
  await vi.waitFor(() => expect(peers[0]?.text).toContain('GET'), WAIT);
  const closed = bench.gate.close({ graceMs: LONG });
  peers[0]?.write(ok('in time'));
  await closed;
  await client.seesEnd();
  expect(client.text).toBe(ok('in time'));
});

test('closing lets a held create go through', async () => {
  const { bench, peers } = await start();
  await using _ = bench;
  const release = bench.readiness.hold();
  const client = bench.client().write(createRequest());
  await vi.waitFor(async () => expect(await bench.held()).toBe(1), WAIT);
  const closed = bench.gate.close({ graceMs: LONG });
  release();
  await vi.waitFor(() => expect(peers[0]?.text).toBe(createRequest()), WAIT);
  peers[0]?.write(ok('{"Id":"c0ffee"}', '201 Created'));
  await closed;
  await client.seesEnd();
  expect(client.text).toContain('c0ffee');
});

test('closing cuts what has not ended when the grace is over', async () => {
  const { bench, peers } = await start();
  await using _ = bench;
  const client = bench.client().write('GET /wait HTTP/1.1\r\n\r\n');
  await vi.waitFor(() => expect(peers[0]?.text).toContain('GET'), WAIT);
  await bench.gate.close({ graceMs: 10 });
  await client.seesEnd();
  await peers[0]?.seesEnd();
});
