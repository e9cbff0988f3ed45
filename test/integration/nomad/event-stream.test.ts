import type { ServerResponse } from 'node:http';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createMetrics } from '../../../src/metrics.ts';
import { Nomad } from '../../../src/nomad/nomad.ts';
import { watchEventStream } from '../../../src/watch/event-stream.ts';
import { watchListing } from '../../../src/watch/resync.ts';
import { StreamNamespaces } from '../../../src/watch/stream-namespaces.ts';
import { eventually } from '../../support/eventually.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { eventLines, fixture, NODE_ID } from '../../support/nomad-fixture.ts';
import { recordingLog } from '../../support/recording-log.ts';
import { beginStream, sendJson, standIn } from './stand-in.ts';

const INTERVAL_MS = 600_000;

/** A connection on which Nomad streams events. */
interface Connection {
  readonly index: string | null;
  readonly response: ServerResponse;
  closed: boolean;
}

/** Nomad with the recorded listing and a stream that the test writes on, and both watches running against it. */
async function watchedNomad() {
  const connections: Connection[] = [];
  const server = await standIn((request, response) => {
    const url = new URL(request.url ?? '', 'http://localhost');
    if (url.pathname !== '/v1/event/stream') return sendJson(response, fixture('node-allocations.json'), 125);
    beginStream(response);
    const connection: Connection = { index: url.searchParams.get('index'), response, closed: false };
    response.on('close', () => {
      connection.closed = true;
    });
    connections.push(connection);
  });
  const nomad = new Nomad({ address: server.address });
  const clock = new ManualClock();
  const log = recordingLog();
  const metrics = createMetrics('test');
  const controller = new AbortController();
  const ids: string[] = [];
  const listings: number[] = [];
  const common = { nomad, nodeId: NODE_ID, clock, log, metrics };
  const onListing = (found: readonly unknown[]) => void listings.push(found.length);
  const listing = watchListing(
    { ...common, intervalMs: INTERVAL_MS, onListing, onFailure: () => undefined },
    controller.signal,
  );
  const callbacks = {
    onAllocation: (id: string) => void ids.push(id),
    onGap: () => listing.refresh(),
    onConnected: () => undefined,
    onDisconnected: () => undefined,
  };
  const namespaces = new StreamNamespaces();
  const following = watchEventStream({ ...common, namespaces, lifeMs: INTERVAL_MS, ...callbacks }, controller.signal);
  onTestFinished(async () => {
    controller.abort();
    await Promise.all([following, listing.finished]);
    await nomad.close();
    await server[Symbol.asyncDispose]();
  });
  const connection = (number: number) =>
    eventually(() => connections[number - 1] ?? expect.unreachable(`connection ${number} has not come`));
  return { connection, clock, log, metrics, ids, listings };
}

/** The ids that the recorded lines name, in order. */
function recordedIds(): string[] {
  return eventLines()
    .flatMap((line): { Topic: string; Key: string }[] => JSON.parse(line).Events ?? [])
    .filter(({ Topic }) => Topic === 'Allocation')
    .map(({ Key }) => Key);
}

describe('the watches over HTTP', () => {
  test.each([11, 4096])(
    'tell of every recorded event that comes in pieces of %i bytes, garbage or not',
    async (size) => {
      const { connection, ids, metrics, log } = await watchedNomad();
      const { response, index } = await connection(1);
      expect(index).toBe('125');
      const garbage = ['', 'upstream connect error', '{"Events":[{"Topic":', `{"${NODE_ID}"`];
      const lines = eventLines().flatMap((line, at) => (at % 10 === 5 ? [garbage[at % 4] ?? '', line] : [line]));
      const bytes = Buffer.from(`${lines.join('\n')}\n`);
      for (let at = 0; at < bytes.length; at += size) {
        if (!response.write(bytes.subarray(at, at + size))) await new Promise((next) => response.once('drain', next));
      }
      const expected = recordedIds();
      await eventually(() => expect(ids).toEqual(expected));
      const skipped = lines.length - eventLines().length;
      expect((await metrics.errors.get()).values).toMatchObject([
        { labels: { code: 'event_garbage' }, value: skipped },
      ]);
      expect(log.lines).toHaveLength(1);
    },
  );

  test('hang up when the heartbeat stops, go on from the last index and list afresh', async () => {
    const { connection, clock, log, ids, listings } = await watchedNomad();
    const first = await connection(1);
    const line = eventLines().find((one) => one.endsWith('"Index":118}'));
    first.response.write(`{}\n${line}\n`);
    await eventually(() => expect(ids).toEqual(['b519e830-0484-96a5-d371-a196fadb11f3']));
    // At the start, and a second later because the stream came.
    await eventually(() => expect(listings).toHaveLength(1));
    clock.advance(1000);
    await eventually(() => expect(listings).toHaveLength(2));
    clock.advance(89_000);
    await eventually(() => expect(first.closed).toBe(true));
    await eventually(() => expect(log.lines).toHaveLength(1));
    clock.advance(1000);
    const second = await connection(2);
    expect(second.index).toBe('118');
    second.response.write('{}\n');
    await eventually(() => expect(listings).toHaveLength(3));
    expect(new Set(listings)).toEqual(new Set([JSON.parse(fixture('node-allocations.json')).length]));
  });

  test('come back after Nomad broke off in the middle of a line', async () => {
    const { connection, clock, log, ids } = await watchedNomad();
    const [first, line] = [await connection(1), eventLines().find((one) => one.endsWith('"Index":118}')) ?? ''];
    first.response.write(`{}\n${line.slice(0, 200)}`, () => first.response.destroy());
    await eventually(() => expect(log.lines).toMatchObject([{ fields: { code: 'nomad_unreachable' } }]));
    clock.advance(1000);
    const second = await connection(2);
    expect(second.index).toBe('125');
    second.response.write(`${line}\n`);
    await eventually(() => expect(ids).toEqual(['b519e830-0484-96a5-d371-a196fadb11f3']));
  });
});
