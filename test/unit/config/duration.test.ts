import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatDuration, parseDuration } from '../../../src/config/duration.ts';

describe('parseDuration', () => {
  test.each([
    ['0s', 0],
    ['500ms', 500],
    ['30s', 30_000],
    ['1.5s', 1500],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['1h0m0.25s', 3_600_250],
  ])('reads %s as %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each(['', '30', '30 s', '-5s', '+5s', '5d', '1m30', 's', '.5s', '5.s', '1e3s', '30S', `${'9'.repeat(30)}h`])(
    'takes %j for no duration',
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );
});

test('what formatDuration writes is read back as it was', () => {
  fc.assert(
    fc.property(fc.nat({ max: 10_000_000_000 }), (ms) => {
      expect(parseDuration(formatDuration(ms))).toBe(ms);
    }),
  );
});

test('formatDuration leaves out units that are zero', () => {
  expect([0, 90_000, 3_600_000, 1001].map(formatDuration)).toEqual(['0s', '1m30s', '1h', '1s1ms']);
});
