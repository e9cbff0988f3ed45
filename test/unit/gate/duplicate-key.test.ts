import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { duplicateKey } from '../../../src/gate/duplicate-key.ts';
import { holdsMoreThan } from '../../../src/json-pieces.ts';

describe('a key that stands twice', () => {
  test.each([
    ['{"a":1,"a":2}', 'a'],
    ['{"a":{"b":1,"c":[{"d":1,"d":2}]}}', 'd'],
    ['{"a" : 1, "\\u0061"\n: 2}', 'a'],
    ['[{"x":1},{"x":1,"y":{},"x":3}]', 'x'],
    ['{"a\\"b":1,"a\\"b":2}', 'a"b'],
    ['{"__proto__":1,"__proto__":2}', '__proto__'],
  ])('is found in %s', (json, key) => {
    expect(duplicateKey(json)).toBe(key);
  });

  test('is not found where values, or keys of different objects, are alike', () => {
    expect(duplicateKey('{"a":"a","b":["a","a"],"c":{"a":1,"b":2},"d":{"a":1}}')).toBeUndefined();
    expect(duplicateKey('{"a":"\\\\","b":"{\\"a\\":1,\\"a\\":2}"}')).toBeUndefined();
  });

  test('is never found in what JSON.stringify writes, and always when the object is written twice into one', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }), (value) => {
        const json = JSON.stringify(value);
        expect(duplicateKey(json)).toBeUndefined();
        expect(duplicateKey(JSON.stringify(value, null, 2))).toBeUndefined();
        expect(Object.keys(value)).toContain(duplicateKey(`${json.slice(0, -1)},${json.slice(1)}`));
      }),
    );
  });
});

describe('how much is in a JSON text', () => {
  test('is counted by keys, values and brackets, not by what stands in texts', () => {
    const json = '{"a\\\\":["x,[{\\"",1,2]}';
    expect(JSON.parse(json)).toEqual({ 'a\\': ['x,[{"', 1, 2] });
    expect(holdsMoreThan(5, json)).toBe(true);
    expect(holdsMoreThan(6, json)).toBe(false);
  });

  test.each(['"', '"\\', '"\\"', '{"a', '', '\\"'])('is counted in %j too, which is no JSON', (text) => {
    expect(holdsMoreThan(2, text)).toBe(false);
  });
});
