import { expect, test } from 'vitest';
import { LABELS } from '../../../src/metrics.ts';
import { ORDER } from '../../../src/resources/resource.ts';

test('a kind of step without a place in the order would never be planned: each has one', () => {
  expect([...ORDER].sort()).toEqual([...LABELS.step].sort());
});
