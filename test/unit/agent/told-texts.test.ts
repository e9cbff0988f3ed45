import { expect, test } from 'vitest';
import { ToldTexts } from '../../../src/agent/told-texts.ts';

test('a text is told without secrets, also without those that have become known since', () => {
  let secrets = ['planted-1'];
  const texts = new ToldTexts(() => secrets);
  texts.refresh();
  expect(texts.tell('got planted-1 and planted-2')).toBe('got [removed] and planted-2');
  secrets = ['planted-1', 'planted-2'];
  texts.refresh();
  expect(texts.tell('got planted-1 and planted-2')).toBe('got [removed] and [removed]');
});

test('a text is not told for ever, and a secret at its cut not in part', () => {
  const texts = new ToldTexts(() => ['planted'.repeat(20)]);
  texts.refresh();
  const told = texts.tell(`${'x '.repeat(245)}${'planted'.repeat(20)}`);
  expect(told).toBe(`${'x '.repeat(245)}…`);
});
