import { describe, expect, test } from 'vitest';
import { NotYetError, RefusedError } from '../../../src/errors.ts';
import { Starts } from '../../../src/gate/starts.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const never = new AbortController().signal;
const NO = new RefusedError('not_in_policy', 'no');
const refused = () => Promise.reject(NO);
const allowed = () => Promise.resolve();
const undecided = () => new Promise<void>(() => undefined);

/** What is said within some turns. */
async function soon(said: Promise<unknown>): Promise<unknown> {
  let answer: unknown = 'nothing';
  void said.then((one) => {
    answer = one;
  });
  for (let turn = 0; turn < 20; turn++) await undefined;
  return answer;
}

describe('the starts at a gate', () => {
  test.each([
    ['none', [], undefined],
    ['one that may run', [allowed], undefined],
    ['one that may not', [refused], NO],
    ['two that may not', [refused, refused], NO],
    ['one of each', [refused, allowed], undefined],
    ['one that may and one of which it is not known', [undecided, allowed], undefined],
    ['one that may not and one of which it is not known', [refused, undecided], 'nothing'],
    ['one of which it cannot be known', [() => Promise.reject(new NotYetError('x', 'x'))], 'nothing'],
  ])('with %s', async (_, decisions, expected) => {
    const starts = new Starts(new ManualClock());
    for (const [at, decision] of decisions.entries()) starts.begin(`t${at}`, 'id', decision);
    expect(await soon(starts.refusal(never))).toBe(expected);
  });

  test('are over with the create, and after a time where none comes', async () => {
    const clock = new ManualClock();
    const starts = new Starts(clock);
    const ended: string[] = [];
    for (const [name, decision] of Object.entries({ a: allowed, b: refused })) {
      starts.begin(name, `of ${name}`, (over) => {
        over.addEventListener('abort', () => ended.push(name));
        return decision();
      });
    }
    expect(starts.allocationIds).toEqual(['of a', 'of b']);
    starts.end('a');
    expect(await soon(starts.refusal(never))).toBe(NO);
    clock.advance(180_000);
    expect(starts.allocationIds).toEqual([]);
    expect(await soon(starts.refusal(never))).toBeUndefined();
    expect(ended).toEqual(['a', 'b']);
  });

  test('of one name count as the last of them', async () => {
    const starts = new Starts(new ManualClock());
    starts.begin('t', 'id', allowed);
    starts.begin('t', 'id', refused);
    expect(await soon(starts.refusal(never))).toBe(NO);
  });

  test('are given up with the signal', async () => {
    const starts = new Starts(new ManualClock());
    starts.begin('t', 'id', undecided);
    await expect(starts.refusal(AbortSignal.abort(new Error('late')))).rejects.toThrow('late');
  });
});
