import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { entryAllowing, matches } from '../../../src/model/policy.ts';

describe('a pattern', () => {
  test.each([
    ['web', 'web', true],
    ['web', 'web2', false],
    ['*', '', true],
    ['*', 'a/b c*', true],
    ['team-*', 'team-', true],
    ['team-*', 'my-team-a', false],
    ['*-prod', 'a-prod', true],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'acb', false],
    ['ab*ba', 'aba', false],
    ['', '', true],
    ['', 'a', false],
    ['a.c', 'abc', false],
    ['Web', 'web', false],
  ])('%j matches %j: %j', (pattern, text, expected) => {
    expect(matches(pattern, text)).toBe(expected);
  });

  test('means what the regular expression means that has .* for each star', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 });
    const text = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 10 });
    fc.assert(
      fc.property(letters, text, (pattern, value) => {
        expect(matches(pattern, value)).toBe(new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(value));
      }),
      { numRuns: 500 },
    );
  });

  test('of thousands of stars is done at once', () => {
    expect(matches('a*'.repeat(5000), 'a'.repeat(20_000))).toBe(true);
    expect(matches(`${'a*'.repeat(5000)}b`, 'a'.repeat(20_000))).toBe(false);
  });
});

test('the first entry that allows it is the one that counts', () => {
  const entry = (namespace: string, ...users: string[]) => ({ namespace, jobs: '*', users: new Set(users) });
  const policy = [entry('b', 'alice'), entry('*', 'bob'), entry('a', 'alice'), entry('*', 'alice')];
  const job = { namespace: 'a', jobId: 'web', parentJobId: undefined };
  expect(entryAllowing(policy, job, 'alice')).toBe(2);
  expect(entryAllowing(policy, job, 'carol')).toBeUndefined();
});
