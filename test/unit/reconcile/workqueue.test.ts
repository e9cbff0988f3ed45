import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { createMetrics } from '../../../src/metrics.ts';
import { WorkQueue } from '../../../src/reconcile/workqueue.ts';
import { ManualClock } from '../../support/manual-clock.ts';

function setUp(concurrency = 8) {
  const runs: { id: string; end: () => void }[] = [];
  const clock = new ManualClock();
  const run = (id: string) => new Promise<void>((end) => runs.push({ id, end }));
  const queue = new WorkQueue({ run, concurrency, clock, metrics: createMetrics('test') });
  const ids = () => runs.map(({ id }) => id);
  const end = async (index: number) => {
    runs[index]?.end();
    await setImmediate();
  };
  return { queue, clock, ids, end };
}

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
});
