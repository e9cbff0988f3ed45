import { expect, test, vi } from 'vitest';
import { NotYetError } from '../../../src/errors.ts';
import { Answers } from '../../../src/ghosts/answers.ts';
import type { Allocation } from '../../../src/model/allocation.ts';
import { ALLOCATION_ID, allocationOf, taskOf } from '../../support/allocation-of.ts';
import { silent } from '../../support/silent-log.ts';

const RUNS = allocationOf({ clientStatus: 'running', tasks: [taskOf('t', { state: 'running' })] });
const ENDED = allocationOf({ clientStatus: 'complete', tasks: [taskOf('t', { state: 'dead' })] });

function setUp(known: Allocation | undefined, isConnected = true) {
  const ask = vi.fn(async (): Promise<Allocation | undefined> => undefined);
  return { ask, answers: new Answers({ known: () => known, ask, isConnected: () => isConnected, log: silent }) };
}

test('what had not finished when Nomad last spoke of it is known to run, and nothing else is', () => {
  expect([RUNS, ENDED, undefined].map((known) => setUp(known).answers.isKnownToRun(ALLOCATION_ID))).toEqual([
    true,
    false,
    false,
  ]);
});

test.each([RUNS, ENDED, undefined])('Nomad is asked afresh, whatever is known (%#)', async (known) => {
  const { ask, answers } = setUp(known);
  expect(await answers.of(ALLOCATION_ID)).toEqual({ kind: 'gone' });
  ask.mockResolvedValueOnce(RUNS);
  expect(await answers.of(ALLOCATION_ID)).toEqual({ kind: 'found', allocation: RUNS });
});

test('an error is no answer', async () => {
  const { ask, answers } = setUp(undefined);
  ask.mockRejectedValueOnce(new NotYetError('nomad_error', 'No cluster leader'));
  expect(await answers.of(ALLOCATION_ID)).toEqual({ kind: 'unanswered', why: 'No cluster leader' });
});

test('while Nomad is away nothing counts as answered, whatever another agent would say', async () => {
  const { ask, answers } = setUp(ENDED, false);
  expect(await answers.of(ALLOCATION_ID)).toMatchObject({ kind: 'unanswered' });
  expect(ask).not.toHaveBeenCalled();
});
