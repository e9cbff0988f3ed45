import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { networkLeftovers } from '../support/network-leftovers.ts';
import { REAL_NOMAD_ADDRESS, type RealNomad, startRealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { until } from '../support/until.ts';
import { expectNothingLeft, jobOf, runJob, shell } from './cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
  'nomad',
)('what a real Nomad leaves behind', () => {
  let environment: Environment<RealNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({
      startNomad: (options) => startRealNomad({ ...options, network: { subnetIpv6: 'fd00:6e72::/64' } }),
      nomadAddress: REAL_NOMAD_ADDRESS,
      config: { resync_interval: '1s', remove_ghosts_after: '3s' },
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  test('killed while it stops an allocation with a network, is taken away: namespace, links, lease and packet filters', async () => {
    const { nomad, agent } = environment;
    const task = shell('t', 'alice', 'echo up; exec sleep 1000');
    const job = { ...jobOf('alice', 'left', task), networkMode: 'bridge', ports: [{ label: 'http', to: 80 }] };
    const allocation = await runJob(nomad, job);
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    await nomad.api.json('DELETE', '/v1/job/left');
    const isStopping = async () => (await allocation.events('t')).some(({ Type }) => Type === 'Killing');
    await until('Nomad is stopping it', isStopping);
    await nomad.killClient();
    await nomad.startClient();
    await nomad.waitForDriver();
    await allocation.gc();
    await until('the network is gone', () => !existsSync(allocation.netns), 60_000);
    expect(await networkLeftovers(nomad)).toEqual([]);
    expect(await agent.metric('nomad_rootless_ghosts_removed_total{kind="network"}')).toBe(1);
    await expectNothingLeft(environment);
  }, 180_000);
});
