import { expect, test } from 'vitest';
import { LastRefusals } from '../../../src/gate/last-refusals.ts';

const one = { allocationId: 'id', task: 't', code: 'c', reason: 'r' };

test('what was last turned away is kept in short, the newest first, and one user takes no place of another', () => {
  let now = 0;
  const refusals = new LastRefusals({ now: () => ++now });
  refusals.note({ user: 'bob', ...one });
  for (let time = 0; time < 1000; time++) refusals.note({ user: 'alice', ...one, reason: 'x'.repeat(10_000) });
  const list = refusals.list();
  expect(list).toHaveLength(21);
  expect(list.at(-1)).toEqual({ at: 1, user: 'bob', ...one });
  expect(list[0]).toEqual({ at: 1001, user: 'alice', ...one, reason: 'x'.repeat(2000) });
});
