import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { createMetrics } from '../../../src/metrics.ts';
import { type Turn, WorkQueue } from '../../../src/reconcile/workqueue.ts';
import { ManualClock } from '../../support/manual-clock.ts';

/** @param shareOf nobody's unless told, which has all slots */
function setUp(concurrency = 8, shareOf: (id: string) => string = () => '') {
  const runs: { id: string; turn: Turn; end: (result: 'slow' | 'done') => void }[] = [];
  const clock = new ManualClock();
  const run = (id: string, turn: Turn) => new Promise<'slow' | 'done'>((end) => runs.push({ id, turn, end }));
  const slots = (share: string) => (share === '' ? concurrency : 2);
  const queue = new WorkQueue({ run, shareOf, slots, concurrency, clock, metrics: createMetrics('test') });
  const ids = () => runs.map(({ id }) => id);
  const end = async (index: number, result: 'slow' | 'done' = 'done') => {
    runs[index]?.end(result);
    await setImmediate();
  };
  const turn = (index: number) => runs[index]?.turn;
  return { queue, clock, ids, end, turn };
}

/** The user of an id such as a1. */
const userOf = (id: string) => id[0] ?? '';

describe('the work queue', () => {
  test('holds an id once however often it is added', async () => {
    const { queue, ids, end } = setUp(1);
    queue.add('busy');
    await setImmediate();
    for (let times = 0; times < 5; times++) queue.add('a');
    await end(0);
    await end(1);
    expect(ids()).toEqual(['busy', 'a']);
  });

  test('never runs one id twice at once, and runs it again if it was added meanwhile', async () => {
    const { queue, ids, end } = setUp();
    queue.add('a');
    await setImmediate();
    queue.add('a');
    queue.add('a');
    await setImmediate();
    expect(ids()).toEqual(['a']);
    await end(0);
    expect(ids()).toEqual(['a', 'a']);
    await end(1);
    expect(ids()).toEqual(['a', 'a']);
  });

  test('takes urgent ids first, also those that wait already', async () => {
    const { queue, ids, end } = setUp(1);
    queue.add('busy');
    await setImmediate();
    for (const id of ['z', 'y']) queue.add(id, 'due');
    for (const id of ['a', 'b', 'c']) queue.add(id);
    queue.add('c', 'awaited');
    queue.add('d', 'awaited');
    queue.add('y', 'changed');
    queue.add('d', 'due');
    for (let index = 0; index < 7; index++) await end(index);
    expect(ids()).toEqual(['busy', 'c', 'd', 'a', 'b', 'y', 'z']);
  });

  test('waits before it tries again, unless there is news', async () => {
    const { queue, clock, ids, end } = setUp();
    queue.addAfter('a', 1000);
    await clock.advance(999);
    expect(ids()).toEqual([]);
    await clock.advance(1);
    expect(ids()).toEqual(['a']);
    await end(0);
    queue.addAfter('b', 1000);
    queue.add('b');
    await clock.advance(5000);
    await setImmediate();
    expect(ids()).toEqual(['a', 'b']);
  });

  test('runs nothing any more once it is stopped', async () => {
    const { queue, ids, end } = setUp(1);
    queue.add('a');
    await setImmediate();
    queue.add('b');
    queue.add('a');
    const stopped = queue.stop();
    await end(0);
    await stopped;
    expect(ids()).toEqual(['a']);
  });

  test("runs two of a user's at once, and others' meanwhile", async () => {
    const { queue, ids, end } = setUp(8, userOf);
    for (const id of ['a1', 'a2', 'a3', 'a4', 'b1']) queue.add(id);
    await setImmediate();
    expect(ids()).toEqual(['a1', 'a2', 'b1']);
    await end(0);
    expect(ids()).toEqual(['a1', 'a2', 'b1', 'a3']);
  });

  test('gives each user a turn where not all can run', async () => {
    const { queue, ids, end } = setUp(1, userOf);
    for (const id of ['x1', 'a1', 'a2', 'a3', 'b1', 'c1', 'b2']) queue.add(id);
    for (let index = 0; index < 7; index++) await end(index);
    expect(ids()).toEqual(['x1', 'a1', 'b1', 'c1', 'a2', 'b2', 'a3']);
  });

  test('goes on with one that turns out to be of a user with a slot free, and puts it off where she has none', async () => {
    const { queue, ids, end, turn } = setUp(8, (id) => (known.has(id) ? userOf(id) : ''));
    const known = new Set<string>();
    for (const id of ['a1', 'a2', 'a3']) queue.add(id);
    expect(ids()).toEqual(['a1', 'a2', 'a3']);
    expect([0, 1, 2].map((index) => turn(index)?.goOnFor('a'))).toEqual([true, true, false]);
    known.add('a3');
    await end(2);
    expect(ids()).toEqual(['a1', 'a2', 'a3']);
    await end(0);
    expect(ids()).toEqual(['a1', 'a2', 'a3', 'a3']);
  });

  test('leaves all of a user who was slow alone for a while, and longer the more often', async () => {
    const { queue, clock, ids, end } = setUp(8, userOf);
    for (const id of ['a1', 'a2', 'a3', 'a4', 'a5', 'a6']) queue.add(id);
    await end(0, 'slow');
    await end(1, 'slow');
    queue.add('a7', 'awaited');
    queue.add('b1');
    await setImmediate();
    expect(ids()).toEqual(['a1', 'a2', 'b1']);
    await clock.advance(500);
    expect(ids()).toEqual(['a1', 'a2', 'b1', 'a7', 'a3']);
    await end(3, 'slow');
    await end(4, 'slow');
    await clock.advance(499);
    expect(ids()).toHaveLength(5);
    await clock.advance(501);
    expect(ids()).toHaveLength(7);
  });

  test('is idle where what was put off has ended', async () => {
    const { queue, end, turn } = setUp(8, () => '');
    for (const id of ['a1', 'a2', 'a3']) queue.add(id);
    for (const index of [0, 1, 2]) turn(index)?.goOnFor('a');
    let isIdle = false;
    const idle = queue.whenIdle('a3').then(() => {
      isIdle = true;
    });
    await end(2);
    expect(isIdle).toBe(false);
    turn(3)?.goOnFor('b');
    await end(3);
    await idle;
  });
});
