import { describe, expect, onTestFinished, test } from 'vitest';
import { NotYetError, ParseError } from '../../../src/errors.ts';
import { createMetrics } from '../../../src/metrics.ts';
import type { Allocation } from '../../../src/model/allocation.ts';
import { parseAllocation } from '../../../src/nomad/allocation-json.ts';
import type { AllocationListing } from '../../../src/nomad/nomad.ts';
import { watchListing } from '../../../src/watch/resync.ts';
import { eventually } from '../../support/eventually.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { jsonFixture, NODE_ID, WEB_ID } from '../../support/nomad-fixture.ts';
import { recordingLog } from '../../support/recording-log.ts';

const WEB = parseAllocation(jsonFixture('allocation-web.json'));
const INTERVAL_MS = 180_000;

type Asked = PromiseWithResolvers<AllocationListing>;

const listing = (allocations: readonly Allocation[]): AllocationListing => ({ allocations, malformed: [] });

function watched() {
  const asked: Asked[] = [];
  const nodeAllocations = (_id: string, signal: AbortSignal) => {
    const answer = Promise.withResolvers<AllocationListing>();
    signal.addEventListener('abort', () => answer.reject(signal.reason));
    asked.push(answer);
    return answer.promise;
  };
  const clock = new ManualClock();
  const log = recordingLog();
  const metrics = createMetrics('test');
  const controller = new AbortController();
  const told: string[][] = [];
  const askedAt: number[] = [];
  const problems: string[] = [];
  const onListing = (found: readonly Allocation[], at: number) => {
    told.push(found.map(({ id }) => id));
    askedAt.push(at);
  };
  const onFailure = (problem: string) => void problems.push(problem);
  const options = {
    nomad: { nodeAllocations },
    nodeId: NODE_ID,
    intervalMs: INTERVAL_MS,
    clock,
    log,
    metrics,
    onListing,
    onFailure,
  };
  const watch = watchListing(options, controller.signal);
  onTestFinished(async () => {
    controller.abort();
    await watch.finished;
  });
  /** The request of that number, once it is there. */
  const request = (number: number): Promise<Asked> =>
    eventually(() => asked[number - 1] ?? expect.unreachable(`request ${number} has not come`));
  /** Waits until the watch sleeps. */
  const asleep = () => eventually(() => expect(clock.waiting).toBe(1));
  return { watch, asked, request, asleep, clock, log, metrics, controller, told, askedAt, problems };
}

describe('the listing of allocations', () => {
  test('comes at the start and after every interval', async () => {
    const { request, asleep, asked, clock, metrics, told } = watched();
    (await request(1)).resolve(listing([WEB]));
    await asleep();
    expect((await metrics.resyncTimestamp.get()).values[0]?.value).toBe(clock.now() / 1000);
    clock.advance(1000);
    await asleep();
    clock.advance(INTERVAL_MS - 1001);
    expect(asked).toHaveLength(1);
    clock.advance(1);
    (await request(2)).resolve(listing([]));
    await asleep();
    expect(told).toEqual([[WEB_ID], []]);
    expect((await metrics.resyncTimestamp.get()).values[0]?.value).toBe(clock.now() / 1000);
  });

  test('comes at once when it is asked for', async () => {
    const { watch, request, asleep, clock, told } = watched();
    (await request(1)).resolve(listing([]));
    await asleep();
    clock.advance(1000);
    await asleep();
    watch.refresh();
    watch.refresh();
    (await request(2)).resolve(listing([WEB]));
    await asleep();
    expect(told).toEqual([[], [WEB_ID]]);
  });

  test('comes a second after the one before at the soonest, however often it is asked for', async () => {
    const { watch, request, asleep, asked, clock, askedAt } = watched();
    (await request(1)).resolve(listing([]));
    await asleep();
    for (let times = 0; times < 10; times++) {
      watch.refresh();
      clock.advance(99);
      // Whatever a refresh could wake has had its turn before setImmediate has.
      await new Promise(setImmediate);
    }
    expect(asked).toHaveLength(1);
    clock.advance(10);
    (await request(2)).resolve(listing([]));
    await asleep();
    expect(askedAt).toEqual([0, 1000]);
  });

  test('says when Nomad was asked, not when it answered', async () => {
    const { request, asleep, clock, askedAt } = watched();
    const first = await request(1);
    clock.advance(5000);
    first.resolve(listing([]));
    await asleep();
    expect(askedAt).toEqual([0]);
  });

  test('comes once more when it is asked for while one is under way, since that one may be older', async () => {
    const { watch, request, asleep, asked, clock } = watched();
    const first = await request(1);
    watch.refresh();
    watch.refresh();
    expect(asked).toHaveLength(1);
    first.resolve(listing([]));
    await asleep();
    clock.advance(1000);
    (await request(2)).resolve(listing([]));
    await asleep();
    expect(asked).toHaveLength(2);
  });

  test('tells nothing when it fails, backs off, and reports', async () => {
    const { watch, request, asleep, asked, clock, log, metrics, told, problems } = watched();
    (await request(1)).reject(new NotYetError('nomad_unreachable', 'nobody there'));
    await asleep();
    watch.refresh();
    // Whatever a refresh could wake has had its turn before setImmediate has.
    await new Promise(setImmediate);
    expect(asked).toHaveLength(1);
    clock.advance(250);
    (await request(2)).reject(new NotYetError('nomad_unreachable', 'nobody there'));
    await asleep();
    clock.advance(500);
    (await request(3)).resolve(listing([WEB]));
    await asleep();
    clock.advance(1000);
    await asleep();
    clock.advance(INTERVAL_MS);
    (await request(4)).reject(new NotYetError('nomad_unreachable', 'nobody there'));
    await asleep();
    expect(told).toEqual([[WEB_ID]]);
    expect(problems).toEqual(Array(3).fill('nobody there'));
    expect(log.lines).toMatchObject([1, 2, 1].map((failures) => ({ fields: { failures } })));
    expect(log.lines.map(({ level }) => level)).toEqual(['warn', 'debug', 'warn']);
    expect((await metrics.errors.get()).values).toMatchObject([{ labels: { code: 'nomad_unreachable' }, value: 3 }]);
  });

  test('hands on the good allocations and reports the ones that cannot be read', async () => {
    const { request, asleep, log, metrics, told } = watched();
    const error = new ParseError('allocation x.Job', 'object', 'null');
    (await request(1)).resolve({ allocations: [WEB], malformed: [{ id: undefined, error }] });
    await asleep();
    expect(told).toEqual([[WEB_ID]]);
    expect(log.lines).toMatchObject([{ level: 'warn', message: /allocation x.Job: expected object, got null/ }]);
    expect((await metrics.errors.get()).values).toMatchObject([{ labels: { code: 'parse_error' }, value: 1 }]);
  });

  test.each([
    ['while it asks', false],
    ['while it sleeps', true],
  ])('ends when it is told to, %s, and leaves no timer behind', async (_, sleeping) => {
    const { watch, request, asleep, controller, clock, log } = watched();
    const first = await request(1);
    if (sleeping) {
      first.resolve(listing([]));
      await asleep();
    }
    controller.abort(new Error('stopping'));
    await watch.finished;
    expect([clock.waiting, log.lines]).toEqual([0, []]);
  });

  test('fails aloud when the one who listens to it does', async () => {
    const nodeAllocations = async () => listing([]);
    const onListing = () => {
      throw new Error('a bug');
    };
    const onFailure = () => undefined;
    const rest = { clock: new ManualClock(), log: recordingLog(), metrics: createMetrics('test'), onFailure };
    const options = { nomad: { nodeAllocations }, nodeId: NODE_ID, intervalMs: INTERVAL_MS, onListing, ...rest };
    await expect(watchListing(options, new AbortController().signal).finished).rejects.toThrow('a bug');
  });
});
