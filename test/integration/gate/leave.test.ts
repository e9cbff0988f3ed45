import { expect, test, vi } from 'vitest';
import { ok, post, startSilent, WAIT } from '../../support/gate-bench.ts';

test.each([
  ['stats', 'GET /v1.0.0/libpod/containers/c0ffee/stats?stream=false HTTP/1.1\r\nHost: u\r\n\r\n'],
  ['exec', post('/exec/abc/start', '{}')],
])('of a client that has gone from %s nothing stays, where Podman neither answers nor closes', async (_, request) => {
  const { bench, peers } = await startSilent();
  await using __ = bench;
  const client = bench.client().write(request);
  await vi.waitFor(() => expect(peers[0]?.text).toContain('HTTP/1.1'), WAIT);
  client.socket.destroy();
  await vi.waitFor(() => expect(bench.gate.connections).toBe(0), WAIT);
  await vi.waitFor(() => expect(peers[0]?.hasEnded || peers[0]?.hasClosed).toBe(true), WAIT);
});

test('a client that has only said that nothing more comes of it gets its answer', async () => {
  const { bench, peers } = await startSilent();
  await using _ = bench;
  const client = bench.client();
  client.socket.end('GET /v1.0.0/libpod/version HTTP/1.1\r\nHost: u\r\n\r\n');
  await vi.waitFor(() => expect(peers[0]?.hasEnded).toBe(true), WAIT);
  peers[0]?.socket.end(ok('{"late":true}'));
  await client.sees('{"late":true}');
});
