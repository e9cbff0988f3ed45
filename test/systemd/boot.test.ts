import { expect, test } from 'vitest';
import { UNIT } from '../support/systemd/installed-agent.ts';
import { NOMAD_UNIT } from '../support/systemd/machine-nomad.ts';
import { failuresOf, runJob } from './cases.ts';
import { onMachine } from './on-machine.ts';

onMachine('when the machine boots', (environment) => {
  async function reboot(): Promise<void> {
    const { machine, agent, nomad } = environment();
    await machine.powerOff();
    await machine.boot();
    await nomad.waitUntilUp();
    await agent.waitUntilReady();
  }

  test('Nomad starts once the gates are open, and finds none of them dead', async () => {
    const { machine, nomad } = environment();
    await reboot();
    const agent = await machine.show(UNIT, 'ActiveEnterTimestampMonotonic', 'Type');
    const { ExecMainStartTimestampMonotonic } = await machine.show(NOMAD_UNIT, 'ExecMainStartTimestampMonotonic');
    expect(agent.Type).toBe('notify');
    expect(Number(agent.ActiveEnterTimestampMonotonic)).toBeLessThan(Number(ExecMainStartTimestampMonotonic));
    expect(await nomad.problemsAtStart()).toEqual([]);
  });

  test('jobs of users who linger run at once', async () => {
    const { nomad } = environment();
    const allocations = [await runJob(nomad, 'booted-alice', 'alice'), await runJob(nomad, 'booted-bob', 'bob')];
    expect(await failuresOf(allocations)).toEqual([]);
  });

  test("a user who does not linger is nobody else's matter, and her job waits for her login", async () => {
    const { users, nomad } = environment();
    await users.alice.linger(false);
    await reboot();
    expect(await nomad.problemsAtStart()).toEqual([]);
    expect(await nomad.watchDriver(2)).toEqual([]);
    const hers = await runJob(nomad, 'waits-alice', 'alice');
    expect(await failuresOf([await runJob(nomad, 'waits-bob', 'bob')])).toEqual([]);
    await users.alice.startManager();
    expect(await failuresOf([hers])).toEqual([]);
  });
});
