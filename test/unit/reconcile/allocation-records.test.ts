import { expect, test } from 'vitest';
import type { Desired } from '../../../src/model/desired.ts';
import { AllocationRecords } from '../../../src/reconcile/allocation-records.ts';
import { ALLOCATION_ID } from '../../support/allocation-of.ts';

const OTHER = ALLOCATION_ID.replace(/^./, 'b');
const nothing = (id: string): Desired => ({ kind: 'nothing', id, why: 'gone' });

test('all is known once everything was found and all that is expected is decided', () => {
  const records = new AllocationRecords(() => 0);
  expect(records.isComplete).toBe(false);
  expect(records.expect(ALLOCATION_ID)).toBe(false);
  expect(records.expect(ALLOCATION_ID)).toBe(true);
  records.foundEverything();
  expect(records.isComplete).toBe(false);
  records.decide(records.of(ALLOCATION_ID), nothing(ALLOCATION_ID), 0);
  expect(records.isComplete).toBe(true);
});

test('what only the gate names keeps nothing from being complete', () => {
  const records = new AllocationRecords(() => 0);
  records.foundEverything();
  records.of(OTHER);
  expect(records.isComplete).toBe(true);
});

test('what is forgotten before it was decided keeps nothing from being complete', () => {
  const records = new AllocationRecords(() => 0);
  records.foundEverything();
  records.expect(OTHER);
  expect(records.needsOf(1001).isComplete).toBe(false);
  records.forget(OTHER);
  expect(records.needsOf(1001).isComplete).toBe(true);
});

test('whoever waits for a decision is told of it once', () => {
  const records = new AllocationRecords(() => 0);
  const record = records.of(ALLOCATION_ID);
  let told = 0;
  record.deciding.add(() => told++);
  records.decide(record, nothing(ALLOCATION_ID), 3);
  records.decide(record, nothing(ALLOCATION_ID), 3);
  expect(told).toBe(1);
  expect(record.decidedStarts).toBe(3);
});
