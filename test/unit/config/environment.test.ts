import { expect, test } from 'vitest';
import { ENVIRONMENT, valuesFromEnvironment } from '../../../src/config/environment.ts';
import { CONFIG_KEYS } from '../../../src/config/schema.ts';

test('every variable stands for a key that exists', () => {
  expect(Object.keys(ENVIRONMENT).filter((key) => !CONFIG_KEYS.includes(key))).toEqual([]);
});

test('an empty variable counts as not set', () => {
  expect(valuesFromEnvironment({ NOMAD_ADDR: '', NOMAD_TOKEN: undefined })).toEqual(new Map());
});

test.each([
  ['1', true],
  ['true', true],
  ['F', false],
  ['yes', 'yes'],
])('NOMAD_SKIP_VERIFY=%s gives %j', (text, value) => {
  expect(valuesFromEnvironment({ NOMAD_SKIP_VERIFY: text })).toEqual(new Map([['nomad.skip_verify', value]]));
});
