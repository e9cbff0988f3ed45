import { afterAll, beforeAll, expect, test } from 'vitest';
import { requires } from '../support/requires.ts';
import { type MachineEnvironment, startMachineEnvironment } from '../support/systemd/machine-environment.ts';
import { until } from '../support/until.ts';
import { failuresOf, runJob } from './burst.ts';

requires(
  'root',
  'sandbox',
  'systemd-machine',
)('when a user is logged out by the administrator', () => {
  let environment: MachineEnvironment;

  beforeAll(async () => {
    environment = await startMachineEnvironment();
  });
  afterAll(() => environment?.[Symbol.asyncDispose]());

  const podmanUp = (user: string) => environment.agent.metric(`nomad_rootless_user_podman_up{user="${user}"}`);

  test("the driver stays healthy, bob's jobs run, and alice's wait until her systemd is back", async () => {
    const { users, nomad } = environment;
    expect(await failuresOf([await runJob(nomad, 'before', 'alice')])).toEqual([]);
    await users.alice.terminate();
    expect(await nomad.watchDriver(2)).toEqual([]);
    await until("alice's Podman is known to be down", async () => (await podmanUp('alice')) === 0);
    expect(await podmanUp('bob')).toBe(1);
    const hers = await runJob(nomad, 'while-away-alice', 'alice');
    expect(await failuresOf([await runJob(nomad, 'while-away-bob', 'bob')])).toEqual([]);
    await users.alice.startManager();
    expect(await failuresOf([hers])).toEqual([]);
    await until("alice's Podman is known to be up", async () => (await podmanUp('alice')) === 1);
  });
});
