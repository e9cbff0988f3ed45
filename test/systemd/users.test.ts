import { expect, onTestFinished, test } from 'vitest';
import { until } from '../support/until.ts';
import { failuresOf, runJob } from './cases.ts';
import { onMachine } from './on-machine.ts';

onMachine('when a user is logged out by the administrator', (environment) => {
  const podmanUp = (user: string) => environment().agent.metric(`nomad_rootless_user_podman_up{user="${user}"}`);

  test("the driver stays healthy, bob's jobs run, and alice's wait until her systemd is back", async () => {
    const { users, nomad } = environment();
    expect(await failuresOf([await runJob(nomad, 'before', 'alice')])).toEqual([]);
    onTestFinished(() => users.alice.startManager());
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
