import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { missingIn } from '../../../src/linux/capabilities.ts';

test('capabilities are missed by name, as the unit gives them', () => {
  expect(missingIn('CapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\n')).toEqual([]);
  expect(missingIn('CapEff:\t000001ffffdfffff\n')).toEqual(['CAP_SYS_ADMIN']);
  const unit = readFileSync(new URL('../../../deploy/systemd/nomad-rootless.service', import.meta.url), 'utf8');
  const given = [...unit.matchAll(/^CapabilityBoundingSet=(.+)$/gm)].flatMap(([, names = '']) => names.split(' '));
  expect(missingIn('CapEff:\t0000000000000000\n').sort()).toEqual(given.sort());
});
