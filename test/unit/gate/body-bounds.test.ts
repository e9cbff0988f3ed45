import { describe, expect, test } from 'vitest';
import { parseCreateBody } from '../../../src/gate/create-body.ts';
import { longestStepOf } from '../../support/longest-step.ts';

const MIB = 1024 * 1024;
/** On what stood before each took from four times that to more than a second. */
const MOST_MS = 100;

const body = (fields: string) => Buffer.from(`{"name":"t-x",${fields}}`);
const entries = (bytes: number, entry: (index: number) => string) =>
  Array.from({ length: Math.floor(bytes / 12) }, (_, index) => entry(index)).join();

describe('a create body as long as the gate takes it', () => {
  test.each([
    ['of keys', body(entries(4 * MIB, (index) => `"k${index}":1`))],
    ['of kernel parameters', body(`"sysctl":{${entries(4 * MIB, (index) => `"k${index}":"1"`)}}`)],
    ['of empty mounts', body(`"mounts":[{}${',{}'.repeat(MIB)}]`)],
    ['of empty options', body(`"mounts":[{"options":[""${',""'.repeat(MIB)}]}]`)],
    ['of nested lists', body(`"x":${'[1,'.repeat(500_000)}1${']'.repeat(500_000)}`)],
  ])('%s is refused before anybody has waited for it', async (_, bytes) => {
    expect(await longestStepOf(() => parseCreateBody(bytes))).toBeLessThan(MOST_MS);
    expect(() => parseCreateBody(bytes)).toThrow(/at most \d+ keys and values/);
  });

  test('is taken where it is one long value', () => {
    const value = `${'{\\"a\\":[1,2]},\\\\'.repeat(100_000)}`;
    expect(parseCreateBody(body(`"env":{"A":"${value}"}`)).name).toBe('t-x');
  });

  test('is taken with a thousand variables and a hundred mounts', () => {
    const env = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`V${index}`, 'x'.repeat(100)]));
    const mounts = Array.from({ length: 100 }, () => ({ type: 'bind', source: '/a', options: ['rbind', 'ro'] }));
    expect(parseCreateBody(Buffer.from(JSON.stringify({ name: 't-x', env, mounts }))).mounts).toHaveLength(100);
  });
});
