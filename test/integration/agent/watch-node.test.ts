import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { NomadHealth } from '../../../src/agent/nomad-health.ts';
import { watchNode } from '../../../src/agent/watch-node.ts';
import { createMetrics } from '../../../src/metrics.ts';
import { StreamNamespaces } from '../../../src/watch/stream-namespaces.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { silent } from '../../support/silent-log.ts';
import { SimulatedNomad } from '../../support/simulated-nomad.ts';

const LEFT = '38272c7f-0000-4000-8000-000000000001';
const OTHER = '38272c7f-0000-4000-8000-000000000002';

test('a network namespace that goes has its allocation looked at where something of its migration is left', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'nomad-rootless-watch-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const looked: string[] = [];
  const stopping = new AbortController();
  onTestFinished(() => stopping.abort());
  const clock = new ManualClock();
  watchNode(
    {
      nomad: new SimulatedNomad(),
      nodeId: 'node',
      namespaces: new StreamNamespaces(),
      host: {
        allocDir: directory,
        netnsDir: directory,
        allocationIds: () => [],
        hasDirectory: () => true,
        isNetnsLeft: (id) => id === LEFT,
        nodeResources: [],
      },
      reconciler: {
        enqueue: () => undefined,
        enqueueHostChange: (id) => looked.push(id),
        enqueueListed: () => undefined,
        enqueueFound: () => undefined,
        allocation: () => undefined,
      },
      health: new NomadHealth(clock),
      intervalMs: 60_000,
      ordering: 'gate',
      onListed: () => undefined,
      clock,
      log: silent,
      metrics: createMetrics('test'),
    },
    stopping.signal,
  );
  for (const id of [OTHER, LEFT]) writeFileSync(join(directory, id), '');
  await expect.poll(() => looked).toContain(LEFT);
  looked.splice(0);
  for (const id of [OTHER, LEFT]) rmSync(join(directory, id));
  await expect.poll(() => looked).toEqual([LEFT]);
});
