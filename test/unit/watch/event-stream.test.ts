import { describe, expect, onTestFinished, test } from 'vitest';
import { NotYetError } from '../../../src/errors.ts';
import { createMetrics } from '../../../src/metrics.ts';
import { watchEventStream } from '../../../src/watch/event-stream.ts';
import { StreamNamespaces } from '../../../src/watch/stream-namespaces.ts';
import { eventually } from '../../support/eventually.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { NODE_ID, WEB_ID } from '../../support/nomad-fixture.ts';
import { recordingLog } from '../../support/recording-log.ts';

/** One opening of the stream: what the test says on it, and what the watch asked for. */
interface Opened {
  readonly index: number;
  say(line: string): void;
  end(error?: Error): void;
}

const LIFE_MS = 600_000;

/** A Nomad whose stream the test speaks on. A line that begins with … is one that was cut. */
function speakingNomad(indexes: (number | Error)[], namespaces: readonly string[]) {
  const opened: Opened[] = [];
  async function* eventLines({ index }: { readonly index: number }, signal: AbortSignal) {
    const { readable, writable } = new TransformStream<string, string>({}, { highWaterMark: 1000 });
    const writer = writable.getWriter();
    const fail = (error: unknown) => void writer.abort(error);
    signal.addEventListener('abort', () => fail(signal.reason));
    opened.push({
      index,
      say: (line) => void writer.write(line),
      end: (error) => void (error ? fail(error) : writer.close()),
    });
    for await (const line of readable) yield { bytes: Buffer.from(line), cut: line.startsWith('…') };
  }
  const eventStart = async () => {
    const index = indexes.shift();
    if (index === undefined) throw new Error('the index was asked for once too often');
    if (index instanceof Error) throw index;
    return { index, namespaces: new Set(namespaces) };
  };
  return { opened, nomad: { eventLines, eventStart } };
}

function watched(indexes: (number | Error)[] = [40]) {
  const { opened, nomad } = speakingNomad(indexes, ['default']);
  const clock = new ManualClock();
  const log = recordingLog();
  const metrics = createMetrics('test');
  const controller = new AbortController();
  const told: string[] = [];
  /** What was told of the stream itself. */
  const states: (string | undefined)[] = [];
  const callbacks = {
    onAllocation: (id: string) => void told.push(id),
    onGap: () => void told.push('gap'),
    onConnected: () => void states.push('stands'),
    onDisconnected: (problem: string | undefined) => void states.push(problem),
  };
  const namespaces = new StreamNamespaces();
  const finished = watchEventStream(
    { nomad, nodeId: NODE_ID, namespaces, lifeMs: LIFE_MS, clock, log, metrics, ...callbacks },
    controller.signal,
  );
  onTestFinished(async () => {
    controller.abort();
    await finished;
  });
  /** The opening of that number, once it is there. */
  const opening = (number: number): Promise<Opened> =>
    eventually(() => opened[number - 1] ?? expect.unreachable(`opening ${number} has not come`));
  /** Waits until the watch has given up an opening and sleeps, then lets the longest back-off pass. */
  const backOff = async (failures: number) => {
    await eventually(() => expect(log.lines).toHaveLength(failures));
    clock.advance(30_000);
  };
  const value = async (name: keyof typeof metrics) => {
    const metric = metrics[name];
    return 'get' in metric ? (await metric.get()).values[0]?.value : undefined;
  };
  /** Waits until a line that was said since the clock moved has been heard. */
  const heard = () => eventually(async () => expect(await value('streamLastEvent')).toBe(clock.now() / 1000));
  return {
    opening,
    opened,
    clock,
    log,
    metrics,
    told,
    states,
    controller,
    finished,
    namespaces,
    backOff,
    value,
    heard,
  };
}

const event = (index: number, id = WEB_ID, node = NODE_ID) =>
  JSON.stringify({
    Events: [{ Index: index, Payload: { Allocation: { ID: id, NodeID: node } }, Topic: 'Allocation' }],
    Index: index,
  });

async function settled(told: string[], expected: string[]): Promise<void> {
  await eventually(() => expect(told).toEqual(expected));
}

describe('the watch of the event stream', () => {
  test('starts where the listing is now, and tells of a gap and then of the allocations of this node', async () => {
    const { opening, told } = watched([40]);
    const stream = await opening(1);
    expect(stream.index).toBe(40);
    for (const line of ['{}', event(41), event(42, WEB_ID, '35ef367e-8026-c171-16fa-c405e00b640b'), '{}', event(43)])
      stream.say(line);
    await settled(told, ['gap', WEB_ID, WEB_ID]);
  });

  test('goes on from the last line seen, of whatever node it was', async () => {
    const { opening, backOff, told } = watched([40]);
    const first = await opening(1);
    first.say(event(41));
    first.say(event(42, WEB_ID, '35ef367e-8026-c171-16fa-c405e00b640b'));
    first.end();
    await backOff(1);
    const second = await opening(2);
    expect(second.index).toBe(42);
    second.say('{}');
    await settled(told, ['gap', WEB_ID, 'gap']);
  });

  test('opens the stream again when the heartbeat stops', async () => {
    const { opening, clock, backOff, log, heard, told } = watched([40]);
    const first = await opening(1);
    first.say(event(41));
    await settled(told, ['gap', WEB_ID]);
    clock.advance(89_999);
    first.say('{}');
    await heard();
    clock.advance(89_999);
    expect(log.lines).toEqual([]);
    clock.advance(1);
    await backOff(1);
    expect(log.lines[0]).toMatchObject({ fields: { code: 'stream_silent' }, message: /no heartbeat for 90 s/ });
    expect((await opening(2)).index).toBe(41);
  });

  test('is not connected before the first line, and names the right that a silent stream lacks', async () => {
    const { opening, clock, backOff, log, value, told, states } = watched([40]);
    await opening(1);
    clock.advance(30_000);
    await backOff(1);
    expect(log.lines[0]?.message).toContain('lacks: namespace "*" { capabilities = ["read-job"] }');
    expect(states).toEqual([expect.stringContaining('lacks: namespace "*" { capabilities = ["read-job"] }')]);
    const second = await opening(2);
    expect([told, await value('streamConnected')]).toEqual([[], 0]);
    second.say('{}');
    await settled(told, ['gap']);
    expect(await value('streamConnected')).toBe(1);
    expect(states.at(-1)).toBe('stands');
  });

  test('names that right too when Nomad closes the stream without a line', async () => {
    const { opening, backOff, log, states } = watched([40]);
    (await opening(1)).end();
    await backOff(1);
    expect(log.lines[0]).toMatchObject({ fields: { code: 'stream_silent' } });
    expect(states).toEqual([expect.stringMatching(/without one line: .*read-job/)]);
  });

  test('opens the stream again when Nomad falls silent, however much was said before', async () => {
    const { opening, clock, log, heard } = watched([40]);
    const first = await opening(1);
    for (let seconds = 0; seconds < 300; seconds += 20) {
      first.say('{}');
      await heard();
      clock.advance(20_000);
    }
    clock.advance(69_999);
    expect(log.lines).toEqual([]);
    clock.advance(1);
    await eventually(() => expect(log.lines).toHaveLength(1));
  });

  test('opens the stream afresh when it has stood for its life, at once and without a complaint', async () => {
    const { opening, clock, log, told, states, heard } = watched([40]);
    const first = await opening(1);
    for (let passed = 0; passed < LIFE_MS; passed += 60_000) {
      first.say('{}');
      await heard();
      clock.advance(60_000);
    }
    const second = await opening(2);
    second.say('{}');
    await settled(told, ['gap', 'gap']);
    expect(states).toEqual(['stands', undefined, 'stands']);
    expect(log.lines).toEqual([]);
  });

  test('opens the stream afresh for a namespace that may be newer than it is, once', async () => {
    const { opening, opened, told, namespaces } = watched([40]);
    const first = await opening(1);
    first.say('{}');
    await settled(told, ['gap']);
    for (const namespace of ['default', 'Ünï/"c*d"\n', 'Ünï/"c*d"\n']) namespaces.cover(namespace);
    const second = await opening(2);
    second.say('{}');
    await settled(told, ['gap', 'gap']);
    namespaces.cover('Ünï/"c*d"\n');
    second.say(event(41));
    await settled(told, ['gap', 'gap', WEB_ID]);
    expect(opened).toHaveLength(2);
  });

  test('follows an index that goes back, and tells of a gap', async () => {
    const { opening, backOff, told } = watched([40]);
    const first = await opening(1);
    for (const line of ['{}', event(50), event(50), event(51), event(7), event(8)]) first.say(line);
    await settled(told, ['gap', WEB_ID, WEB_ID, WEB_ID, WEB_ID, 'gap', WEB_ID]);
    first.end();
    await backOff(1);
    expect((await opening(2)).index).toBe(8);
  });

  test('keeps its metrics', async () => {
    const { opening, backOff, value, metrics, clock, told } = watched([40]);
    expect([await value('streamConnected'), await value('streamReconnects')]).toEqual([0, 0]);
    const stream = await opening(1);
    stream.say('{}');
    await settled(told, ['gap']);
    expect([await value('streamConnected'), await value('streamLastEvent')]).toEqual([1, clock.now() / 1000]);
    stream.end();
    await backOff(1);
    await opening(2);
    expect([await value('streamConnected'), await value('streamReconnects')]).toEqual([0, 1]);
    expect((await metrics.errors.get()).values).toMatchObject([{ labels: { code: 'stream_closed' }, value: 1 }]);
  });

  test('waits longer after each failure, and begins anew after a stream that stood', async () => {
    const failure = new NotYetError('nomad_unreachable', 'nobody there');
    const { opening, opened, backOff, clock, log, heard } = watched([failure, failure, failure, 40]);
    for (const count of [1, 2, 3]) {
      expect(opened).toEqual([]);
      await backOff(count);
    }
    const stream = await opening(1);
    for (const _ of [1, 2, 3]) {
      clock.advance(20_000);
      stream.say('{}');
      await heard();
    }
    stream.end();
    await backOff(4);
    await opening(2);
    expect(log.lines.map(({ fields }) => fields)).toMatchObject([1, 2, 3, 1].map((failures) => ({ failures })));
    expect(log.lines.map(({ level }) => level)).toEqual(['warn', 'debug', 'debug', 'warn']);
  });

  test('skips garbage, counts all of it and logs it once a minute', async () => {
    const { opening, clock, log, metrics, told, heard } = watched([40]);
    const stream = await opening(1);
    const garbage = ['Permission denied', `{"${NODE_ID}`, '{oops}', event(41, '../x')];
    for (const line of [...garbage, event(42)]) stream.say(line);
    // What may have been about this node has to be listed.
    await settled(told, ['gap', 'gap', 'gap', WEB_ID]);
    expect(log.lines).toMatchObject([
      { fields: { code: 'event_garbage', lines: 1 }, message: /got "Permission denied"/ },
    ]);
    for (const _ of [1, 2, 3]) {
      clock.advance(20_000);
      stream.say(event(43));
      await heard();
    }
    stream.say('more of it');
    await eventually(() => expect(log.lines).toHaveLength(2));
    expect(log.lines[1]).toMatchObject({ fields: { lines: garbage.length } });
    expect((await metrics.errors.get()).values).toMatchObject([{ labels: { code: 'event_garbage' }, value: 5 }]);
  });

  test('tells of a gap where a line was too long, and goes on behind it', async () => {
    const { opening, backOff, told, metrics } = watched([40]);
    const first = await opening(1);
    for (const line of ['{}', event(41), '…}}}],"Index":42}', '{}']) first.say(line);
    await settled(told, ['gap', WEB_ID, 'gap']);
    expect((await metrics.errors.get()).values).toMatchObject([{ labels: { code: 'event_garbage' }, value: 1 }]);
    first.end();
    await backOff(2);
    expect((await opening(2)).index).toBe(42);
  });

  test.each([
    ['while it listens', async ({ opening }: ReturnType<typeof watched>) => void (await opening(1)).say('{}')],
    [
      'while it backs off',
      async ({ opening, log }: ReturnType<typeof watched>) => {
        (await opening(1)).end();
        await eventually(() => expect(log.lines).toHaveLength(1));
      },
    ],
  ])('ends when it is told to, %s, and leaves no timer behind', async (_, reach) => {
    const watch = watched([40]);
    await reach(watch);
    watch.controller.abort(new Error('stopping'));
    await watch.finished;
    expect(await watch.value('streamConnected')).toBe(0);
    expect(watch.clock.waiting).toBe(0);
  });
});
