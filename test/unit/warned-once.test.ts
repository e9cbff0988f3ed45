import { expect, test } from 'vitest';
import { WarnedOnce } from '../../src/warned-once.ts';
import { ManualClock } from '../support/manual-clock.ts';

test('what goes on is warned of once, again when it changes, and again after five minutes', async () => {
  const clock = new ManualClock();
  const warned = new WarnedOnce(clock);
  const levels = (...what: string[]) => what.map((one) => warned.levelOf('stream', one));
  expect(levels('refused', 'refused', 'denied', 'denied', 'refused')).toEqual([
    'warn',
    'debug',
    'warn',
    'debug',
    'warn',
  ]);
  await clock.advance(299_999);
  expect(levels('refused')).toEqual(['debug']);
  await clock.advance(1);
  expect(levels('refused', 'refused')).toEqual(['warn', 'debug']);
});

test('of another kind, and after it was over, it is warned of', () => {
  const warned = new WarnedOnce(new ManualClock());
  expect(warned.levelOf('inspect', 'x')).toBe('warn');
  expect(warned.levelOf('logs', 'x')).toBe('warn');
  warned.over('inspect');
  expect([warned.levelOf('inspect', 'x'), warned.levelOf('logs', 'x')]).toEqual(['warn', 'debug']);
});
