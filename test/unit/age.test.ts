import { expect, test } from 'vitest';
import { formatAge } from '../../src/age.ts';

test.each([
  [-5000, '0s'],
  [999, '0s'],
  [12_000, '12s'],
  [300_000, '5m0s'],
  [3_661_000, '1h1m'],
  [273_600_000, '3d4h'],
])('%d ms is %s', (ms, text) => {
  expect(formatAge(ms)).toBe(text);
});
