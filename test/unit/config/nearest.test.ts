import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { editDistance, nearest } from '../../../src/config/nearest.ts';

describe('editDistance', () => {
  test('is zero exactly between equal words', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        expect(editDistance(a, b) === 0).toBe(a === b);
      }),
    );
  });

  test('does not depend on the direction', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        expect(editDistance(a, b)).toBe(editDistance(b, a));
      }),
    );
  });

  test('counts insertions, deletions and substitutions', () => {
    expect(editDistance('kitten', 'sitting')).toBe(3);
  });
});

describe('nearest', () => {
  const keys = ['timeout', 'dir', 'resync_interval'];

  test('finds the word that was meant', () => {
    expect(nearest('timout', keys)).toBe('timeout');
    expect(nearest('resync-intervall', keys)).toBe('resync_interval');
  });

  test('finds nothing where no word is like it', () => {
    expect(nearest('banana', keys)).toBeUndefined();
  });
});
