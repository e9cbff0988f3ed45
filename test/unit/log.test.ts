import { expect, test } from 'vitest';
import { createLog, type LogOptions } from '../../src/log.ts';

function logTo(options: LogOptions) {
  const lines: string[] = [];
  return { lines, log: createLog(options, { write: (line: string) => void lines.push(line) }) };
}

test('is one JSON object a line', () => {
  const { log, lines } = logTo({ level: 'info', format: 'json' });
  log.child({ user: 'alice' }).warn({ code: 'x' }, 'two\nlines');
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/^[^\n]*\n$/);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 40, user: 'alice', code: 'x', message: 'two\nlines' });
});

test.each(['json', 'pretty'] as const)('tells the journal the priority of each line, as %s', (format) => {
  const { log, lines } = logTo({ level: 'debug', format, isJournal: true });
  const child = log.child({ user: 'alice' });
  log.error({}, 'a');
  child.warn({}, 'b');
  child.info({}, 'c');
  log.debug({}, 'd');
  expect(lines.map((line) => line.slice(0, 3))).toEqual(['<3>', '<4>', '<6>', '<7>']);
});

test('tells nobody else of priorities', () => {
  const { log, lines } = logTo({ level: 'info', format: 'json' });
  log.error({}, 'a');
  expect(lines[0]).toMatch(/^\{/);
});

test('is a line for people, with its fields behind the message', () => {
  const { log, lines } = logTo({ level: 'info', format: 'pretty' });
  log.info({ allocation: 'a1', ms: 12 }, 'done');
  expect(lines[0]).toMatch(/^\S+Z INFO {2}done allocation=a1 ms=12\n$/);
});

test('what a job author has chosen neither steers the terminal nor begins a line', () => {
  const { log, lines } = logTo({ level: 'info', format: 'pretty' });
  log.info({ task: '\u001b[2Jweb\nERROR all is lost' }, 'done');
  expect(lines[0]).toContain('done task=\\x1b[2Jweb\\x0aERROR all is lost\n');
});

test('follows a level that changes while it runs, children too', () => {
  const options = { level: 'info', format: 'json' as const };
  const { log, lines } = logTo(options);
  const child = log.child({ user: 'alice' });
  child.debug({}, 'before');
  options.level = 'debug';
  child.debug({}, 'after');
  options.level = 'error';
  child.warn({}, 'too late');
  expect(lines.map((line) => JSON.parse(line).message)).toEqual(['after']);
});
