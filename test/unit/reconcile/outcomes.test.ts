import { expect, test } from 'vitest';
import { NotYetError } from '../../../src/errors.ts';
import type { Desired } from '../../../src/model/desired.ts';
import { AllocationRecords } from '../../../src/reconcile/allocation-records.ts';
import { Outcomes } from '../../../src/reconcile/outcomes.ts';
import type { Outcome } from '../../../src/reconcile/record.ts';
import { ALLOCATION_ID, allocationOf } from '../../support/allocation-of.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const GONE: Desired = { kind: 'nothing', id: ALLOCATION_ID, why: 'gone' };
const gone: Outcome = { kind: 'settled', desired: GONE, allocation: undefined };

function setUp() {
  const clock = new ManualClock();
  const records = new AllocationRecords(() => clock.now());
  const forgotten: string[] = [];
  const counted: boolean[] = [];
  const outcomes = new Outcomes({
    records,
    reader: { forget: (id) => forgotten.push(id) },
    reports: { pass: () => undefined, count: (_record, isKnown) => counted.push(isKnown) },
    clock,
  });
  const record = records.of(ALLOCATION_ID);
  const fail = (error: Error, retryable = true) => outcomes.conclude(record, { kind: 'failed', error, retryable }, 1);
  return { clock, records, record, outcomes, fail, forgotten, counted };
}

const later = new NotYetError('nomad_unreachable', 'Nomad did not answer');
const soon = new NotYetError('copy_under_way', 'in a moment', undefined, 10);

test('what fails again and again is tried again at longer and longer intervals, up to half a minute', () => {
  const { fail } = setUp();
  const waits = Array.from({ length: 12 }, () => fail(later) ?? 0);
  for (const [index, wait] of waits.entries()) {
    const full = Math.min(30_000, 100 * 2 ** index);
    expect(wait).toBeGreaterThanOrEqual(full / 2);
    expect(wait).toBeLessThanOrEqual(full);
  }
});

test('an error that wants to be tried again soon is, fifty times in a row and no more', () => {
  const { fail } = setUp();
  const waits = Array.from({ length: 51 }, () => fail(soon) ?? 0);
  expect(waits.slice(0, 50).every((wait) => wait === 10)).toBe(true);
  expect(waits[50]).toBeGreaterThanOrEqual(15_000);
});

test('a failure that waits for a change is not tried again by itself, and neither is what is settled', () => {
  const { fail, outcomes, record } = setUp();
  expect(fail(new Error('broken'), false)).toBeUndefined();
  expect(outcomes.conclude(record, gone, 1)).toBeUndefined();
});

test('a pass that settles lets the next failure begin with the shortest wait', () => {
  const { fail, outcomes, record } = setUp();
  for (let count = 0; count < 10; count++) fail(later);
  const desired: Desired = { kind: 'refused', id: ALLOCATION_ID, code: 'unknown_user', reason: 'no such user' };
  outcomes.conclude(record, { kind: 'settled', desired, allocation: allocationOf() }, 1);
  expect(fail(later)).toBeLessThanOrEqual(100);
});

test('an allocation that is over is forgotten, not counted any more, and its users are told of', () => {
  const { records, record, outcomes, forgotten, counted } = setUp();
  const ended: number[][] = [];
  outcomes.onEnded((uids) => ended.push([...uids]));
  record.granted = new Map([['t', 1001]]);
  outcomes.conclude(record, gone, 1);
  expect(records.get(ALLOCATION_ID)).toBeUndefined();
  expect(forgotten).toEqual([ALLOCATION_ID]);
  expect(counted).toEqual([false]);
  expect(ended).toEqual([[1001]]);
});

test('an allocation that is over is remembered while a start of one of its tasks waits for a decision', () => {
  const { records, record, outcomes, counted } = setUp();
  record.starts++;
  outcomes.conclude(record, gone, 1);
  expect(records.get(ALLOCATION_ID)).toBe(record);
  expect(counted).toEqual([true]);
});

test('the time since when an allocation is as it is moves only when the kind of outcome changes', () => {
  const { clock, record, fail, outcomes } = setUp();
  fail(later);
  const since = record.since;
  clock.advance(1000);
  fail(soon);
  expect(record.since).toBe(since);
  record.starts++;
  outcomes.conclude(record, gone, 1);
  expect(record.since).toBe(since + 1000);
});
