import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ParseError } from '../../../src/errors.ts';
import { routeOf } from '../../../src/gate/route.ts';

const ID = '3446d5e1-6ff3-0022-b7ba-b606572ea818';
const kind = (method: string, target: string) => routeOf(method, target).kind;

/** Spells a path oddly, so that cleaning and decoding give it back. */
const oddly = (path: string) =>
  fc
    .array(fc.constantFrom('plain', 'encode', 'double', 'dot', 'up', 'case'), { minLength: 40, maxLength: 40 })
    .map((ways) =>
      [...path]
        .map((character, index) => {
          const way = ways[index % ways.length];
          if (way === 'encode') return `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
          if (way === 'case') return character.toUpperCase();
          if (character !== '/') return character;
          if (way === 'double') return '//';
          if (way === 'dot') return '/./';
          if (way === 'up') return '/x%2f../%2E/';
          return character;
        })
        .join(''),
    )
    .map((text) => (text.startsWith('/') ? text : `/${text}`));

describe('a request', () => {
  test.each(['/v1.0.0/libpod/containers/create', '/libpod/containers/create', '/v5.4.2/libpod/containers/create?x=y'])(
    'POST %s is a create',
    (target) => expect(kind('POST', target)).toBe('create'),
  );

  test('for a create is one however oddly it is spelt', () => {
    fc.assert(
      fc.property(oddly('/v1.0.0/libpod/containers/create'), fc.constantFrom('', '/', '?a=b', '//.'), (path, end) => {
        expect(kind('POST', path + end)).toBe('create');
      }),
      { numRuns: 500 },
    );
  });

  test('that makes containers in another way is refused, with the reason', () => {
    for (const target of [
      '/containers/create?name=x',
      '/v1.41/containers/create',
      '/v1.0.0/libpod/pods/create',
      '/v1.0.0/libpod/play/kube',
      '/libpod/kube/play',
      '/build',
      '/libpod/build',
      '/libpod/local/build',
      '/libpod/containers/x/restore?import=1',
      '/libpod/quadlets',
      '/containers/%63reate',
    ]) {
      expect(routeOf('POST', target)).toEqual({
        kind: 'refused',
        reason: expect.stringContaining('names no allocation'),
      });
    }
  });

  test.each([
    '/v1.0.0/libpod/images/load',
    '/images/load?quiet=1',
    '/libpod/local/images/load',
    '/v5/libpod//images/./load',
  ])('POST %s is refused: the driver reads the archive as root', (target) => {
    expect(routeOf('POST', target)).toEqual({ kind: 'refused', reason: expect.stringContaining('podman load') });
  });

  test('to inspect a container of an allocation names it', () => {
    expect(routeOf('GET', `/v1.0.0/libpod/containers/my-task-${ID}/json`)).toEqual({
      kind: 'inspect',
      allocationId: ID,
    });
    expect(kind('GET', `/v1.0.0/libpod/containers/${ID}/json`)).toBe('pass');
    expect(kind('GET', `/v1.0.0/libpod/containers/task${ID}/json`)).toBe('pass');
    expect(kind('GET', `/v1.0.0/libpod/containers/t-${ID.toUpperCase()}/json`)).toBe('pass');
    expect(kind('DELETE', `/v1.0.0/libpod/containers/t-${ID}/json`)).toBe('pass');
  });

  test('that can hijack is an exec start or an attach, with POST', () => {
    expect(kind('POST', '/exec/abc/start')).toBe('hijack');
    expect(kind('POST', '/v1.0.0/libpod/exec/abc/start')).toBe('hijack');
    expect(kind('POST', '/libpod/containers/abc/attach?stream=1')).toBe('hijack');
    expect(kind('GET', '/libpod/containers/abc/attach')).toBe('pass');
    expect(kind('POST', '/libpod/containers/abc/exec')).toBe('pass');
  });

  test('of the rest passes', () => {
    expect(kind('GET', '/libpod/_ping')).toBe('pass');
    expect(kind('POST', '/v1.0.0/libpod/containers/create/start')).toBe('pass');
    expect(kind('GET', '/v1.0.0/libpod/containers/create/json')).toBe('pass');
    expect(kind('POST', '/v1.0.0/libpod/images/pull?reference=/libpod/containers/create')).toBe('pass');
    expect(kind('DELETE', '/v1.0.0/libpod/containers/abc?force=true')).toBe('pass');
  });

  test('with bad percent-encoding is refused', () => {
    expect(() => routeOf('POST', '/libpod/containers/%zzcreate')).toThrow(ParseError);
    expect(() => routeOf('GET', '/a%2')).toThrow(ParseError);
  });
});
