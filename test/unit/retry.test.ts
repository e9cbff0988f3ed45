import { expect, test } from 'vitest';
import { NotYetError } from '../../src/errors.ts';
import { retry } from '../../src/retry.ts';
import { ManualClock } from '../support/manual-clock.ts';

const KEEP = new AbortController().signal;

/** Fails as often as told, and tells of each failure. */
function failing(times: number, { clock = new ManualClock(), lastsMs = 0, error = new Error('no') } = {}) {
  const told: { failures: number; inMs: number }[] = [];
  let left = times;
  const work = async () => {
    if (left-- === 0) return 'done';
    if (lastsMs > 0) await clock.sleep(lastsMs);
    throw error;
  };
  const onFailure = (_: unknown, failures: number, inMs: number) => told.push({ failures, inMs });
  return { clock, told, work, onFailure };
}

async function goOn(clock: ManualClock, times: number, ms: number): Promise<void> {
  for (let step = 0; step < times; step++) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(ms);
  }
}

test('does it again until it succeeds, and counts the failures in a row', async () => {
  const { clock, told, work, onFailure } = failing(3);
  const result = retry(work, { clock, signal: KEEP, onFailure });
  await goOn(clock, 4, 30_000);
  expect(await result).toBe('done');
  expect(told.map(({ failures }) => failures)).toEqual([1, 2, 3]);
});

test('does it again as soon as the error says', async () => {
  const { clock, told, work, onFailure } = failing(6, { error: new NotYetError('soon', 'soon', undefined, 20) });
  const result = retry(work, { clock, signal: KEEP, onFailure });
  await goOn(clock, 7, 20);
  expect(await result).toBe('done');
  expect(told.map(({ inMs }) => inMs)).toEqual([20, 20, 20, 20, 20, 20]);
});

test('takes the failure of what went on for long for a first one', async () => {
  const { clock, told, work, onFailure } = failing(3, { lastsMs: 60_000 });
  const result = retry(work, { clock, signal: KEEP, onFailure, steadyMs: 60_000 });
  await goOn(clock, 8, 60_000);
  expect(await result).toBe('done');
  expect(told.map(({ failures }) => failures)).toEqual([1, 1, 1]);
});

test('gives up once it is no longer wanted, also while it waits', async () => {
  const wanted = new AbortController();
  const { clock, told, work, onFailure } = failing(3);
  const result = retry(work, { clock, signal: wanted.signal, onFailure });
  await new Promise((resolve) => setImmediate(resolve));
  wanted.abort();
  expect(await result).toBeUndefined();
  expect(told).toHaveLength(1);
  expect(await retry(work, { clock, signal: wanted.signal, onFailure })).toBeUndefined();
  expect(told).toHaveLength(1);
});
