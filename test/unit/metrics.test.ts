import { expect, test } from 'vitest';
import { createMetrics, exemplarOf } from '../../src/metrics.ts';

const ALLOCATION = '1a2b3c4d-0000-0000-0000-000000000000';

test('OpenMetrics has which allocation was held, and the text for Prometheus does not', async () => {
  const { registry, openMetrics, gateHoldSeconds } = createMetrics('0.0.0');
  gateHoldSeconds.observe({ labels: { user: 'alice' }, value: 0.3, exemplarLabels: exemplarOf(ALLOCATION) });
  expect(await openMetrics.metrics()).toMatch(
    new RegExp(
      `_hold_duration_seconds_bucket\\{le="0.5",user="alice"\\} 1 # \\{allocation="${ALLOCATION}"\\} 0.3 \\d+`,
    ),
  );
  const text = await registry.metrics();
  expect(text).toContain('nomad_rootless_gate_hold_duration_seconds_bucket{le="0.5",user="alice"} 1\n');
  expect(text).not.toContain(ALLOCATION);
});

test('an observation of no allocation has no exemplar', async () => {
  const { openMetrics, gateHoldSeconds } = createMetrics('0.0.0');
  gateHoldSeconds.observe({ labels: { user: 'alice' }, value: 0.3, exemplarLabels: exemplarOf(undefined) });
  expect(await openMetrics.metrics()).not.toContain('# {');
});

test('writing the one changes nothing of the other', async () => {
  const { registry, openMetrics, gateRequests } = createMetrics('0.0.0');
  gateRequests.inc({ verdict: 'refused' });
  const own = (text: string) => text.split('\n').filter((line) => line.includes('nomad_rootless_'));
  const before = own(await registry.metrics());
  const open = own(await openMetrics.metrics());
  expect(before).toContain('nomad_rootless_gate_requests_total{verdict="refused"} 1');
  expect(open).toContain('# TYPE nomad_rootless_gate_requests counter');
  expect(open).toContain('nomad_rootless_gate_requests_total{verdict="refused"} 1');
  expect(own(await registry.metrics())).toEqual(before);
  expect(own(await openMetrics.metrics())).toEqual(open);
});
