import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { backoffMs } from '../../src/backoff.ts';

const BACKOFF = { firstMs: 250, mostMs: 30_000 };
const failures = fc.integer({ min: 1, max: 10_000 });
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('backing off', () => {
  test('doubles from a quarter of a second up to half a minute', () => {
    const waits = [1, 2, 3, 7, 8, 9].map((count) => backoffMs(count, BACKOFF, 0));
    expect(waits).toEqual([250, 500, 1000, 16_000, 30_000, 30_000]);
  });

  test('takes at most half away by chance, and never comes to nothing', () => {
    fc.assert(
      fc.property(failures, random, (count, chance) => {
        const full = backoffMs(count, BACKOFF, 0);
        const wait = backoffMs(count, BACKOFF, chance);
        expect(wait).toBeGreaterThanOrEqual(full / 2);
        expect(wait).toBeLessThanOrEqual(full);
      }),
    );
  });
});
