import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FileSchema } from '../../../src/config/schema.ts';

const empty = { nomad: {}, gate: {}, users: {}, metrics: {}, admin: {}, log: {} };
const accepts = (part: object) => FileSchema.safeParse({ ...empty, ...part }).success;

describe('a user name', () => {
  const allowed = (name: string) => accepts({ users: { [name]: {} } });

  test.each(['alice', '_svc', 'a-b_c', 'machine$', 'Alice.Smith', 'alice@example.org'])('may be %s', (name) => {
    expect(allowed(name)).toBe(true);
  });

  test.each(['', '-alice', '.alice', '..', '../x', 'a/b', 'a b', '1000', 'a\0', 'a\n', 'ä', 'a$b'])(
    'may not be %j',
    (name) => {
      expect(allowed(name)).toBe(false);
    },
  );

  test('never leads out of the directory of the gates', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', '.', '/', '-', '@', '$', '\0', '\n') }), (name) => {
        const leadsOut = name === '' || /[/\0\n]|^[.-]/.test(name);
        expect(leadsOut && allowed(name)).toBe(false);
      }),
    );
  });

  test('may not make the path of the gate longer than a socket address can hold', () => {
    const dir = `/run/${'d'.repeat(90)}`;
    expect(accepts({ gate: { dir }, users: { al: {} } })).toBe(true);
    expect(accepts({ gate: { dir }, users: { alicealice: {} } })).toBe(false);
  });
});

test.each(['run', './run', '/run/../etc', '/run/./x', '', '/a\0b'])('the path %j is refused', (path) => {
  expect(accepts({ state_dir: path })).toBe(false);
});

test.each([
  ['http://127.0.0.1:4646', true],
  ['https://nomad.example:4646', true],
  ['unix:///run/nomad/api.sock', true],
  ['https+unix:///run/nomad/api.sock', true],
  ['https+unix://run/nomad/api.sock', false],
  ['http+unix:///run/nomad/api.sock', false],
  ['unix://run/nomad.sock', false],
  ['127.0.0.1:4646', false],
  ['ftp://x', false],
])('the address %s: %j', (address, accepted) => {
  expect(accepts({ nomad: { address } })).toBe(accepted);
});

test.each([
  ['59.999s', true],
  ['60s', false],
  ['1m', false],
  ['0s', false],
  [30, false],
])('the gate may hold a create for %s: %j', (timeout, accepted) => {
  expect(accepts({ gate: { timeout } })).toBe(accepted);
});

test('a certificate without its key is refused, and the other way round', () => {
  expect(accepts({ nomad: { client_cert: '/c', client_key: '/k' } })).toBe(true);
  expect(accepts({ nomad: { client_cert: '/c' } })).toBe(false);
  expect(accepts({ nomad: { client_key: '/k' } })).toBe(false);
});

test('metrics can be served at a unix socket, to a group', () => {
  const socket = (path: string, group?: string) => accepts({ metrics: { address: `unix://${path}`, group } });
  expect([socket('/run/m.sock'), socket('/run/m.sock', 'prometheus'), socket('/run/m.sock', '990')]).toEqual([
    true,
    true,
    true,
  ]);
  expect([socket('/run/../m.sock'), socket(`/${'m'.repeat(107)}`), socket('/run/m.sock', 'a b')]).toEqual([
    false,
    false,
    false,
  ]);
});

test('the metrics server can be turned off', () => {
  expect(['', 'off', '[::1]:1', 'nonsense'].map((address) => accepts({ metrics: { address } }))).toEqual([
    true,
    true,
    true,
    false,
  ]);
});
