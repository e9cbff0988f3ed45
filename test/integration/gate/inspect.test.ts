import { expect, test, vi } from 'vitest';
import type { Log } from '../../../src/log.ts';
import { GateBench, ID, ok, type Peer, WAIT } from '../../support/gate-bench.ts';
import { recordingLog } from '../../support/recording-log.ts';

const BY_NAME = `GET /v1.0.0/libpod/containers/t-${ID}/json HTTP/1.1\r\nHost: u\r\n\r\n`;
const BY_ID = `GET /v1.0.0/libpod/containers/${'a'.repeat(64)}/json HTTP/1.1\r\nHost: u\r\n\r\n`;
const WHOLE = '{"Id":"a","State":{"Running":true},"HostConfig":{}}';

async function start(answer: string, log?: Log): Promise<GateBench> {
  const bench = new GateBench(log && { log });
  await bench.rawPodman((peer) => void peer.socket.once('data', () => peer.socket.end(answer)));
  await bench.open();
  return bench;
}

test.each([BY_NAME, BY_ID])('what a container is comes as Podman says it', async (request) => {
  await using bench = await start(ok(WHOLE));
  const client = bench.client().write(request);
  await client.seesEnd();
  expect(client.text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(client.text.endsWith(`\r\n\r\n${WHOLE}`)).toBe(true);
  expect(await bench.verdicts()).toEqual({ passed: 1 });
});

test('that there is no such container comes as Podman says it', async () => {
  await using bench = await start(ok('{"cause":"no such container"}', '404 Not Found'));
  const client = bench.client().write(BY_ID);
  await client.sees('no such container');
  expect(client.text).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
});

test.each([
  ['no state', '{}'],
  ['a null for a state', '{"State":null}'],
  ['a second key that Go takes for the state', '{"State":{},"state":null}'],
  ['a second state', '{"State":{},"State":null}'],
  ['a list', '[]'],
  ['a null', 'null'],
  ['no JSON', '{"State":{'],
  ['more values than any container has', `{"State":{},"x":[${'1,'.repeat(50_000)}1]}`],
])('an answer with %s does not reach the driver, which would end with it', async (_, body) => {
  await using bench = await start(ok(body));
  for (const request of [BY_NAME, BY_ID]) {
    const client = bench.client().write(request);
    await client.seesEnd();
    expect(client.text).toMatch(/^HTTP\/1\.1 502 /);
    expect(client.text).toContain("expected a container's state");
  }
});

test('a Podman that answers nonsense is warned of once, however often it is asked, and of whichever container', async () => {
  const log = recordingLog();
  await using bench = await start(ok('{}'), log);
  for (const request of [BY_NAME, BY_ID, BY_NAME]) await bench.client().write(request).seesEnd();
  const told = log.lines.filter(({ message }) => message.startsWith('the inspect of a container is not'));
  expect(told.map(({ level }) => level)).toEqual(['warn', 'debug', 'debug']);
});

test('an answer that is larger than any of Podman is not read to its end', async () => {
  await using bench = await start(`HTTP/1.1 200 OK\r\n\r\n${' '.repeat(2 * 1024 * 1024)}`);
  const client = bench.client().write(BY_ID);
  await client.sees('502 Bad Gateway');
});

test('an answer of which each byte is a chunk of its own is not read to its end', async () => {
  const chunked = [...WHOLE.padEnd(100_000)].map((byte) => `1\r\n${byte}\r\n`).join('');
  await using bench = await start(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}0\r\n\r\n`);
  const client = bench.client().write(BY_ID);
  await client.seesEnd();
  expect(client.text).toMatch(/^HTTP\/1\.1 502 /);
});

test('a Podman that says again and again that the answer comes is not waited for', async () => {
  await using bench = await start('HTTP/1.1 102 Processing\r\n\r\n'.repeat(1000));
  const client = bench.client().write(BY_ID);
  await client.sees('502 Bad Gateway');
  expect(client.text).toContain('status 102');
});

test('a driver that goes has its question taken back', async () => {
  await using bench = new GateBench();
  const peers: Peer[] = [];
  await bench.rawPodman((peer) => void peers.push(peer));
  await bench.open();
  const client = bench.client().write(BY_ID);
  await vi.waitFor(() => expect(peers[0]?.text).toContain('GET'), WAIT);
  client.socket.destroy();
  await vi.waitFor(() => expect(bench.gate.connections).toBe(0), WAIT);
  await peers[0]?.seesEnd();
  expect(await bench.verdicts()).toEqual({ abandoned: 1 });
});
