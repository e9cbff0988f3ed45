import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { networkLeftovers } from '../support/network-leftovers.ts';
import { RealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { createSandbox, type Sandbox } from '../support/sandbox.ts';
import { runJob } from './cases.ts';
import { NETWORK, networkCases, script } from './network-cases.ts';

const STAYS = script('exec sleep 1000');

requires(
  'root',
  'sandbox',
  'nomad',
)("a real Nomad's networks of groups, as the stand-in makes them", () => {
  let sandbox: Sandbox;
  let nomad: RealNomad;

  beforeAll(async () => {
    sandbox = await createSandbox({ users: [] });
    nomad = new RealNomad({ sandbox, dataDir: join(sandbox.directory, 'nomad'), sockets: {}, network: NETWORK });
    await nomad.start();
  });
  afterAll(async () => {
    try {
      await nomad?.stop();
    } finally {
      await sandbox?.dispose();
    }
  });

  networkCases(() => nomad);

  // Since 1.11.0: no CNI plugin, no status, and none in the client's state either, which it takes for an error. Before, the
  // task had the bare network namespace, as with the stand-in.
  test('mode none fails before any task starts', async () => {
    const allocation = await runJob(nomad, { id: 'none', networkMode: 'none', tasks: [STAYS] });
    await allocation.waitFor('failed');
    const events = (await allocation.events('t')).map(({ Type, DisplayMessage }) => `${Type}: ${DisplayMessage}`);
    expect(events).toEqual([
      'Received: Task received by client',
      'Setup Failure: failed to setup alloc: pre-run hook "network" failed: network already configured but not found in state',
    ]);
    await allocation.gc();
    expect(await networkLeftovers(nomad)).toEqual([]);
  });
});
