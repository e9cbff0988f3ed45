import { describe, expect, test } from 'vitest';
import { driverConfigIn } from '../../../src/nomad/driver-config.ts';

function withConfig(Config: unknown) {
  return driverConfigIn([{ Name: 'nomad-driver-podman', Config }]);
}

describe("the podman driver's configuration", () => {
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

  test('is refused where it is something else', () => {
    expect(() => withConfig({ client_http_timeout: 5 })).toThrow(/client_http_timeout/);
  });
});
