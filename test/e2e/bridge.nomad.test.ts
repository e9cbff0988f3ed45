import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import { REAL_NOMAD_ADDRESS, type RealNomad, startRealNomad } from '../support/real-nomad.ts';
import { requires } from '../support/requires.ts';
import { bridgeCases } from './bridge-cases.ts';
import { jobOf, runJob, shell } from './cases.ts';
import { NETWORK, page } from './network-cases.ts';

requires(
  'root',
  'sandbox',
  'podman',
  'nomad',
)('group networks beside a real Nomad', () => {
  let environment: Environment<RealNomad>;

  beforeAll(async () => {
    environment = await startEnvironment({
      startNomad: (options) => startRealNomad({ ...options, network: NETWORK }),
      nomadAddress: REAL_NOMAD_ADDRESS,
    });
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  // With a bridge plugin from 1.3.0 on Nomad runs CNI CHECK then, and makes the network anew where that fails.
  test("Nomad's client killed and started again keeps the task and its network", async () => {
    const { nomad } = environment;
    const script = 'echo up; mkdir -p /tmp/www; echo kept >/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www';
    const job = { ...jobOf('alice', 'kept', shell('t', 'alice', script)), networkMode: 'bridge' };
    const allocation = await runJob(nomad, job);
    await allocation.waitForLog('t', 'up');
    await allocation.waitFor('running');
    const address = await allocation.address();
    // Nomad's client loses an allocation's network status if it is killed within a minute of its start.
    await new Promise((resolve) => setTimeout(resolve, 65_000));
    await nomad.killClient();
    await nomad.startClient();
    await nomad.waitForDriver();
    expect(await page(`${address}:8080`)).toBe('kept');
    expect(await allocation.address()).toBe(address);
    const types = (await allocation.events('t')).map(({ Type }) => Type);
    expect(types).toEqual(['Received', 'Task Setup', 'Started']);
  }, 180_000);

  bridgeCases(() => environment);
});
