import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ParseError } from '../../../src/errors.ts';
import { parseDriver } from '../../../src/nomad/driver-json.ts';

const read = (file: string) =>
  JSON.parse(readFileSync(new URL(`../../fixtures/nomad-2.0.5/${file}`, import.meta.url), 'utf8'));

function withConfig(Config: unknown) {
  return parseDriver({ config: { Plugins: [{ Name: 'nomad-driver-podman', Config }] } }, { Drivers: {} }, 'node x');
}

describe('what Nomad says of the podman driver', () => {
  test('is read as recorded', () => {
    expect(parseDriver(read('agent-self.json'), read('node.json'), 'node x')).toEqual({
      isDetected: true,
      isHealthy: true,
      healthDescription: 'All Podman sockets are responding.',
      httpTimeoutMs: 60_000,
      takesVolumes: true,
    });
  });

  test.each([
    ['2m', 120_000],
    ['1m30s', 90_000],
    ['1.5s', 1500],
    ['0s', 60_000],
    ['', 60_000],
  ])('has %s as a time limit of %d ms', (client_http_timeout, ms) => {
    expect(withConfig({ client_http_timeout }).httpTimeoutMs).toBe(ms);
  });

  test('has volumes unless they are switched off', () => {
    expect(withConfig({ volumes: [{ enabled: false }] }).takesVolumes).toBe(false);
    expect(withConfig({ volumes: { enabled: false } }).takesVolumes).toBe(false);
    expect(withConfig({ volumes: [{ selinuxlabel: 'z' }] }).takesVolumes).toBe(true);
    expect(withConfig(null).takesVolumes).toBe(true);
  });

  test('is that there is none, where there is none', () => {
    expect(parseDriver({ config: { Plugins: null } }, { Drivers: null }, 'node x')).toMatchObject({
      isDetected: false,
      isHealthy: false,
    });
  });

  test('is refused where it is something else', () => {
    expect(() => parseDriver({}, {}, 'node x')).toThrow(ParseError);
    expect(() => withConfig({ client_http_timeout: 5 })).toThrow(/client_http_timeout/);
  });
});
