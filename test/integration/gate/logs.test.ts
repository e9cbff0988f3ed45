import { expect, onTestFinished, test, vi } from 'vitest';
import { Frames } from '../../../src/gate/frames.ts';
import { createRequest, GateBench, ok, type Peer, WAIT } from '../../support/gate-bench.ts';
import { recordingLog } from '../../support/recording-log.ts';

const LOGS = 'GET /v1.0.0/libpod/containers/abc/logs?follow=true&stdout=true HTTP/1.1\r\nHost: u\r\n\r\n';
const HEAD = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';

function frame(channel: number, text: string, length = text.length): string {
  const header = Buffer.alloc(8);
  header[0] = channel;
  header.writeUInt32BE(length, 4);
  return header.toString('latin1') + text;
}

/** As Go's server sends what is written to it. */
const chunk = (text: string) => Buffer.from(`${text.length.toString(16)}\r\n${text}\r\n`, 'latin1');

async function answering(answer: (peer: Peer) => void) {
  const bench = new GateBench();
  await bench.rawPodman((peer) => void peer.socket.once('data', () => answer(peer)));
  await bench.open();
  return bench;
}

test('the log of a container comes frame by frame as it is written, and ends when Podman ends it', async () => {
  let podman: Peer | undefined;
  await using bench = await answering((peer) => {
    podman = peer;
    peer.write(HEAD).write(chunk(frame(1, 'first\n')));
  });
  const client = bench.client().write(LOGS);
  await client.sees('first');
  const rest = frame(2, 'second\n') + frame(1, 'x'.repeat(100_000));
  for (const part of rest.match(/.{1,7}/gs) ?? []) podman?.write(chunk(part));
  podman?.write('0\r\n\r\n');
  await client.seesEnd();
  expect(client.text.split('\r\n\r\n')[0]).toMatch(/^HTTP\/1.1 200 OK\r\n/);
  expect(client.text.slice(client.text.indexOf('\r\n\r\n') + 4)).toBe(frame(1, 'first\n') + rest);
  expect(podman?.text).toContain('/v1.0.0/libpod/containers/abc/logs?follow=true&stdout=true');
  expect(await bench.verdicts()).toEqual({ passed: 1 });
});

test.each([
  ['of four gigabytes', frame(1, 'x', 0xffff_ffff)],
  ['of a channel that there is not', frame(7, 'x')],
  ['of a megabyte and one byte, behind a good one', frame(1, 'good') + frame(1, 'x', 1024 * 1024 + 1)],
])('a frame %s ends the log, and is not passed on', async (_, bad) => {
  let left = false;
  await using bench = await answering((peer) => {
    peer.socket.once('end', () => {
      left = true;
    });
    peer.write(HEAD).write(chunk(frame(1, 'before')));
    void client.sees('before').then(() => peer.write(chunk(bad)));
  });
  const client = bench.client().write(LOGS);
  await client.seesEnd();
  expect(client.text.slice(client.text.indexOf('\r\n\r\n') + 4)).toBe(frame(1, 'before'));
  await vi.waitFor(() => expect(left).toBe(true), WAIT);
  expect(bench.lines).toContainEqual({
    fields: { code: 'parse_error', reason: expect.stringContaining('the Podman of user alice') },
    message: 'the log of a container is not in the form that Podman gives',
  });
});

test('a Podman whose logs are nonsense is warned of once, however often it is asked', async () => {
  const log = recordingLog();
  await using bench = new GateBench({ log });
  await bench.rawPodman((peer) => void peer.socket.once('data', () => peer.write(HEAD).write(chunk(frame(7, 'x')))));
  await bench.open();
  for (const _ of [1, 2, 3]) await bench.client().write(LOGS).seesEnd();
  const told = log.lines.filter(({ message }) => message.startsWith('the log of a container is not'));
  expect(told.map(({ level }) => level)).toEqual(['warn', 'debug', 'debug']);
});

test('without a log the driver hears the status', async () => {
  await using bench = await answering((peer) => peer.socket.end(ok('{"cause":"no such container"}', '404 Not Found')));
  const client = bench.client().write(LOGS);
  await client.seesEnd();
  expect(client.text).toMatch(/^HTTP\/1.1 404 /);
});

test('a Podman that ends just as it is asked for a log is asked once more', async () => {
  let asked = 0;
  await using bench = await answering((peer) => {
    if (++asked === 1) peer.socket.destroy();
    else peer.socket.end(`HTTP/1.1 200 OK\r\n\r\n${frame(1, 'there')}`);
  });
  const client = bench.client().write(LOGS);
  await client.sees('there');
  await client.seesEnd();
});

test('a client that leaves a log is reported to Podman', async () => {
  let left = false;
  await using bench = await answering((peer) => {
    peer.socket.once('end', () => {
      left = true;
    });
    peer.write(HEAD).write(chunk(frame(1, 'first')));
  });
  const client = bench.client().write(LOGS);
  await client.sees('first');
  client.socket.destroy();
  await vi.waitFor(() => expect(left).toBe(true), WAIT);
});

test('a create behind a log never reaches Podman, whatever it answers', async () => {
  let received = '';
  await using bench = await answering((peer) => {
    peer.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n');
    received = peer.text;
    peer.socket.on('data', () => {
      received = peer.text;
    });
  });
  const client = bench.client().write(LOGS + createRequest());
  await client.sees('HTTP/1.1 502');
  await client.seesEnd();
  expect(received.match(/HTTP\/1.1/g)).toHaveLength(1);
  expect(bench.readiness.asked).toEqual([]);
});

test('a log of which each byte is a chunk of its own is passed on by what is read at once', async () => {
  const line = frame(1, 'x\n');
  const bytes = [...line].map((byte) => chunk(byte).toString('latin1')).join('');
  const passed = vi.spyOn(Frames.prototype, '_transform');
  onTestFinished(() => passed.mockRestore());
  await using bench = await answering((peer) => {
    peer.write(HEAD).socket.end(Buffer.from(`${bytes.repeat(5000)}0\r\n\r\n`, 'latin1'));
  });
  const client = bench.client().write(LOGS);
  await client.seesEnd();
  expect(client.text.slice(client.text.indexOf('\r\n\r\n') + 4)).toBe(line.repeat(5000));
  expect(passed.mock.calls.length).toBeLessThan(500);
});
