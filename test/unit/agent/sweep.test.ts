import { expect, test } from 'vitest';
import { sweepHost } from '../../../src/agent/sweep.ts';
import type { Step } from '../../../src/resources/resource.ts';

function stepOf(what: string, apply: Step['apply'] = () => undefined): Step {
  return { kind: 'volume', what, removes: true, apply };
}

function fail(message: string): never {
  throw new Error(message);
}

test('a sweep takes away all that it can, whatever fails before it', async () => {
  const taken: string[] = [];
  const failures: unknown[] = [];
  const sweeps = [
    () => [stepOf('first', () => fail('in a step')), stepOf('second'), stepOf('third', async () => fail('later'))],
    () => fail('in a plan'),
    () => [stepOf('fourth')],
  ];
  const take = async (step: Step) => {
    await step.apply();
    taken.push(step.what);
  };
  await sweepHost({ sweeps }, { take, onFailure: (error) => failures.push(error) });
  expect(taken).toEqual(['second', 'fourth']);
  expect(failures).toEqual([new Error('in a step'), new Error('later'), new Error('in a plan')]);
});
