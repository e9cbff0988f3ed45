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
    expect(routeOf('POST', target)).toEqual({ kind: 'load', reason: expect.stringContaining('podman load') });
  });

  test('to inspect a container of an allocation names it', () => {
    expect(routeOf('GET', `/v1.0.0/libpod/containers/my-task-${ID}/json`)).toEqual({
      kind: 'inspect',
      allocationId: ID,
      task: 'my-task',
    });
    expect(kind('GET', `/v1.0.0/libpod/containers/${ID}/json`)).toBe('container');
    expect(kind('GET', `/v1.0.0/libpod/containers/task${ID}/json`)).toBe('container');
    expect(kind('GET', `/v1.0.0/libpod/containers/t-${ID.toUpperCase()}/json`)).toBe('container');
    expect(kind('DELETE', `/v1.0.0/libpod/containers/t-${ID}/json`)).toBe('container');
  });

  test('that can hijack is an exec start or an attach, with POST', () => {
    const hijacks = (method: string, target: string) => routeOf(method, target);
    const yes = { isHijack: true, isLong: true, isStream: true };
    expect(hijacks('POST', '/exec/abc/start')).toEqual({ kind: 'pass', ...yes });
    expect(hijacks('POST', '/v1.0.0/libpod/exec/abc/start')).toEqual({ kind: 'pass', ...yes });
    expect(hijacks('POST', '/libpod/containers/abc/attach?stream=1')).toEqual({
      kind: 'container',
      isInspect: false,
      isLogs: false,
      ...yes,
    });
    const no = { isInspect: false, isLogs: false, isHijack: false, isLong: false, isStream: false };
    expect(hijacks('GET', '/libpod/containers/abc/attach')).toEqual({ kind: 'container', ...no });
    expect(hijacks('POST', '/libpod/containers/abc/exec')).toEqual({ kind: 'container', ...no });
  });

  test('that is answered by a stream is known: all others by one document', () => {
    const isStream = (target: string, method = 'GET') => {
      const route = routeOf(method, target);
      return 'isStream' in route && route.isStream;
    };
    const streams = ['containers/x/logs?follow=true', 'containers/x/logs', 'containers/x/stats', 'events'];
    const archives = ['containers/x/export', 'containers/x/archive?path=/', 'images/export', 'images/a/b/get'];
    for (const target of [...streams, ...archives, 'volumes/x/export'])
      expect(isStream(`/libpod/${target}`)).toBe(true);
    expect(isStream('/v1.0.0/libpod/exec/x/start', 'POST')).toBe(true);
    const documents = ['containers/x/stats?stream=false', 'containers/json', 'containers/x/top', 'exec/x/json'];
    for (const target of [...documents, 'version', 'images/json']) expect(isStream(`/libpod/${target}`)).toBe(false);
    expect(isStream('/libpod/containers/x/wait', 'POST')).toBe(false);
  });

  test('that asks what a container is is known', () => {
    const route = (method: string, target: string) => routeOf(method, target);
    expect(route('GET', '/v1.0.0/libpod/containers/abc/json')).toMatchObject({ kind: 'container', isInspect: true });
    expect(route('GET', '/v1.0.0/libpod//containers/./abc/%6ason')).toMatchObject({ isInspect: true });
    expect(route('GET', '/v1.0.0/libpod/containers/abc/stats')).toMatchObject({ isInspect: false });
    expect(route('POST', '/v1.0.0/libpod/containers/abc/json')).toMatchObject({ isInspect: false });
  });

  test('that lasts as long as a container is known', () => {
    const isLong = (method: string, target: string) => {
      const route = routeOf(method, target);
      return 'isLong' in route && route.isLong;
    };
    expect(isLong('POST', '/libpod/containers/abc/wait')).toBe(true);
    expect(isLong('POST', '/libpod/containers/abc/wait?condition=exited')).toBe(true);
    expect(isLong('POST', '/libpod/containers/abc/wait?condition=running&condition=exited')).toBe(false);
    expect(isLong('GET', '/libpod/containers/abc/logs?follow=true')).toBe(true);
    expect(isLong('GET', '/libpod/containers/abc/logs')).toBe(false);
    expect(isLong('GET', '/libpod/containers/abc/stats')).toBe(true);
    expect(isLong('GET', '/libpod/containers/abc/stats?stream=false')).toBe(false);
    expect(isLong('GET', '/libpod/events')).toBe(true);
    expect(isLong('GET', '/libpod/events?stream=false')).toBe(false);
    expect(isLong('GET', '/libpod/version')).toBe(false);
  });

  test('of the driver`s start of a task is told apart', () => {
    expect(kind('GET', '/libpod/_ping')).toBe('ping');
    expect(kind('GET', '/v1.0.0/libpod/info')).toBe('info');
    expect(routeOf('GET', '/v1.0.0/libpod/images/registry.example/a/b:1/json')).toEqual({
      kind: 'image',
      reference: 'registry.example/a/b:1',
    });
    expect(routeOf('POST', '/v1.0.0/libpod/images/pull?reference=a/b:1&tlsVerify=true')).toEqual({
      kind: 'pull',
      reference: 'a/b:1',
      query: 'reference=a%2Fb%3A1&tlsVerify=true',
    });
    expect(routeOf('POST', '/v1.0.0/libpod/containers/abc/start')).toEqual({ kind: 'start', container: 'abc' });
  });

  test('of the rest passes', () => {
    expect(kind('GET', '/libpod/version')).toBe('pass');
    expect(kind('GET', '/info')).toBe('pass');
    expect(kind('POST', '/v1.0.0/libpod/containers/create/start')).toBe('start');
    expect(kind('GET', '/v1.0.0/libpod/containers/create/json')).toBe('container');
    expect(kind('POST', '/v1.0.0/libpod/images/pull?reference=/libpod/containers/create')).toBe('pull');
    expect(kind('DELETE', '/v1.0.0/libpod/containers/abc?force=true')).toBe('container');
  });

  test('with bad percent-encoding is refused', () => {
    expect(() => routeOf('POST', '/libpod/containers/%zzcreate')).toThrow(ParseError);
    expect(() => routeOf('GET', '/a%2')).toThrow(ParseError);
  });
});
