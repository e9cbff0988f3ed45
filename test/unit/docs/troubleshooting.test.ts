import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { errorCodesOf, errorCodesOfSource } from '../../support/error-codes.ts';
import { sectionsOf } from '../../support/markdown-headings.ts';

const DOCS = fileURLToPath(new URL('../../../docs', import.meta.url));
const FIXTURES = fileURLToPath(new URL('../../fixtures/error-codes', import.meta.url));
const page = readFileSync(join(DOCS, 'troubleshooting.md'), 'utf8');
const sections = sectionsOf(page);
const ofCodes = sectionsOf(sections.find(({ title }) => title === 'Codes')?.text ?? '').filter(
  ({ depth }) => depth === 4,
);
const { given, untold } = errorCodesOfSource();
const codes = [...new Set(given.map(({ code }) => code))].sort();

describe('the page of codes', () => {
  test('has each code that the program can give', () => {
    const told = new Set(ofCodes.map(({ title }) => title));
    const lacking = given.filter(({ code }) => !told.has(code)).map(({ code, place }) => `${code} (src/${place})`);
    expect(lacking).toEqual([]);
  });

  test('has none that the program does not give, and each once', () => {
    expect(ofCodes.map(({ title }) => title).sort()).toEqual(codes);
  });

  test('says for each code and each alert what to do', () => {
    const alerts = sectionsOf(sections.find(({ title }) => title === 'Alerts')?.text ?? '');
    expect(alerts.length).toBeGreaterThan(10);
    const silent = [...ofCodes, ...alerts].filter(({ text }) => !/\S\n\n\*\*Do\*\*: \S/.test(text));
    expect(silent.map(({ title }) => title)).toEqual([]);
  });
});

describe('the codes of the source', () => {
  test('can all be told', () => {
    expect(untold).toEqual([]);
  });

  test('are found in whatever form they are given, and not where something else has that name', () => {
    const found = errorCodesOf([join(FIXTURES, 'told.ts')], FIXTURES);
    expect(found.given.map(({ code }) => code).sort()).toEqual([
      'of_*',
      'of_a_cause',
      'of_a_constant',
      'of_a_new',
      'of_a_subclass',
      'of_finished',
      'of_gone',
      'of_what_has_none',
      'one_of_two',
      'other_of_two',
    ]);
    expect(found.untold).toEqual([]);
  });

  test('that come from nowhere known are told of', () => {
    const found = errorCodesOf([join(FIXTURES, 'untold.ts')], FIXTURES);
    expect(found).toEqual({ given: [], untold: ['untold.ts:2: text()'] });
  });
});
