import { expect, test } from 'vitest';
import { redraw } from '../../../src/cli/redraw.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { until } from '../../support/until.ts';

/** What is on a terminal of so many rows after each drawing. */
async function watched(rows: number | undefined, texts: readonly (string | Error)[]): Promise<string[]> {
  const drawn: string[] = [];
  const clock = new ManualClock();
  const end = new AbortController();
  const left = [...texts];
  const next = async () => {
    const text = left.shift() ?? '';
    if (text instanceof Error) throw text;
    return text;
  };
  const done = redraw(next, { rows, write: (text) => void drawn.push(text) }, clock, end.signal);
  for (let count = 1; count <= texts.length; count++) {
    await until(`it is drawn ${count} times`, () => drawn.length === count && clock.waiting === 1);
    if (count < texts.length) await clock.advance(2000);
  }
  end.abort();
  await done;
  return drawn;
}

test('draws each text over the one before', async () => {
  expect(await watched(10, ['one\ntwo\n', 'three\n'])).toEqual([
    '\x1b[?7l\x1b[Hone\x1b[K\ntwo\x1b[K\x1b[J\x1b[?7h',
    '\x1b[?7l\x1b[Hthree\x1b[K\x1b[J\x1b[?7h',
  ]);
});

test('goes on where the agent is not running for a while', async () => {
  const [first, second] = await watched(10, [new Error('the agent is not running'), 'up\n']);
  expect(first).toContain('the agent is not running');
  expect(second).toContain('up');
});

test('draws no more than there is room for, and says how much is left out', async () => {
  const [drawn = ''] = await watched(3, ['1\n2\n3\n4\n5\n']);
  expect(drawn.split('\n')).toHaveLength(3);
  expect(drawn).toContain('2\x1b[K\n3 lines more');
});

test('without a terminal it is an error that says what to do', async () => {
  await expect(
    redraw(async () => '', { rows: undefined, write: () => undefined }, new ManualClock()),
  ).rejects.toMatchObject({
    code: 'no_terminal',
    exitCode: 2,
    message: expect.stringContaining('--json'),
  });
});
