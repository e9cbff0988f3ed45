import { expect, test } from 'vitest';
import { infoOf } from '../../../src/podman/info.ts';
import { longestStepOf } from '../../support/longest-step.ts';

test('keeps what the driver reads, and nothing else', () => {
  const security = { apparmorEnabled: false, capabilities: 'CAP_CHOWN', rootless: true };
  const host = {
    cgroupVersion: 'v2',
    cgroupManager: 'systemd',
    cpus: 2,
    security,
    ociRuntime: { path: '/usr/bin/crun' },
  };
  const version = { Version: '5.4.2', Built: 0 };
  const body = JSON.stringify({ host: { ...host, idMappings: {} }, version, registries: { search: ['docker.io'] } });
  expect(JSON.parse(infoOf(body, 'info'))).toEqual({ host, version });
});

test.each([
  ['a list', '[]'],
  ['a text', '"host"'],
  ['no JSON', '{"host":'],
  ['a number for a text', '{"host":{"arch":1}}'],
  ['a text for an object', '{"host":"here"}'],
  ['a fraction for a whole number', '{"host":{"cpus":1.5}}'],
  ['a number that is no int64', '{"host":{"memFree":1e30}}'],
  ['a text that would fill the state of Nomad', JSON.stringify({ host: { arch: 'x'.repeat(5000) } })],
])('refuses %s, which Go decodes into an error', (_, body) => {
  expect(() => infoOf(body, 'info')).toThrow();
});

test.each([
  [
    'another spelling, which Go takes for the same key',
    '{"host":{"arch":"arm64"},"HOST":5}',
    '{"host":{"arch":"arm64"}}',
  ],
  ['a key that comes twice', '{"host":5,"host":{"arch":"arm64"}}', '{"host":{"arch":"arm64"}}'],
  ['a whole number that is written as a fraction', '{"host":{"cpus":2.0}}', '{"host":{"cpus":2}}'],
  ['more brackets than Go takes', `{"x":${'['.repeat(15_000)}${']'.repeat(15_000)}}`, '{}'],
])('writes %s so that Go reads what was checked', (_, body, expected) => {
  expect(infoOf(body, 'info')).toBe(expected);
});

test('an answer of three hundred thousand values is refused before anybody has waited for it', async () => {
  const body = `{"host":{${Array.from({ length: 300_000 }, (_, index) => `"k${index}":{}`).join()}}}`;
  expect(await longestStepOf(() => infoOf(body, 'info'))).toBeLessThan(100);
  expect(() => infoOf(body, 'info')).toThrow(/at most 20000 keys and values/);
});
