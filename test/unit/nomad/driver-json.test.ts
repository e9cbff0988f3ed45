import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ParseError } from '../../../src/errors.ts';
import { parseDriver } from '../../../src/nomad/driver-json.ts';

const read = (file: string) =>
  JSON.parse(readFileSync(new URL(`../../fixtures/nomad-2.0.5/${file}`, import.meta.url), 'utf8'));

describe('what Nomad says of the podman driver', () => {
  test('is read as recorded', () => {
    expect(parseDriver(read('node.json'), 'node x')).toEqual({
      isDetected: true,
      isHealthy: true,
      healthDescription: 'All Podman sockets are responding.',
    });
  });

  test('is that there is none, where there is none', () => {
    expect(parseDriver({ Drivers: null }, 'node x')).toMatchObject({
      isDetected: false,
      isHealthy: false,
    });
  });

  test('is refused where it is something else', () => {
    expect(() => parseDriver({ Drivers: 1 }, 'node x')).toThrow(ParseError);
  });
});
