import { expect, test } from 'vitest';
import { parseYaml } from '../../../src/config/yaml-source.ts';

test('tells the line of a key, and of the nearest key above one that is not there', () => {
  const source = parseYaml('# first\ngate:\n  timeout: 30s\nusers: {alice: {}}\n');
  expect(source.lineOf(['gate', 'timeout'])).toBe(3);
  expect(source.lineOf(['gate', 'dir'])).toBe(2);
  expect(source.lineOf(['users', 'alice', 'socket'])).toBe(4);
  expect(source.lineOf(['log'])).toBeUndefined();
});

test('an empty text has no value and no problem', () => {
  expect(parseYaml('# nothing\n')).toMatchObject({ value: undefined, problems: [] });
});

test.each([
  ['a key twice', 'a: 1\na: 2\n', 2],
  ['an unknown tag', 'a: 1\nb: !secret x\n', 2],
  ['a list without an end', 'a: [1\n', 2],
  ['two documents', 'a: 1\n---\nb: 2\n', 2],
])('reports %s with its line', (_, text, line) => {
  const { value, problems } = parseYaml(text);
  expect(value).toBeUndefined();
  expect(problems.map((problem) => problem.line)).toContain(line);
});

test('what is wrong is said without quoting the text', () => {
  const { problems } = parseYaml('token: "geheim\n');
  expect(problems.length).toBeGreaterThan(0);
  expect(JSON.stringify(problems)).not.toContain('geheim');
});

test('aliases that multiply without end are a problem, not a full memory', () => {
  const levels = Array.from({ length: 9 }, (_, n) => `a${n + 1}: &a${n + 1} [${Array(9).fill(`*a${n}`).join(',')}]`);
  const { value, problems } = parseYaml(`a0: &a0 [x]\n${levels.join('\n')}\n`);
  expect(value).toBeUndefined();
  expect(problems).toHaveLength(1);
});
