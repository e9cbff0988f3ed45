import { expect, test } from 'vitest';
import { GateProbe } from '../support/systemd/gate-probe.ts';
import { CONFIG, GATES } from '../support/systemd/machine-environment.ts';
import { MachineUser } from '../support/systemd/machine-user.ts';
import { until } from '../support/until.ts';
import { ALL_ANSWERED } from './cases.ts';
import { onMachine } from './on-machine.ts';

const CAROLS_GATE = '/run/nomad-rootless/gate/carol.sock';

onMachine('when the agent is reloaded', (environment) => {
  test('a user who is new in the configuration gets a gate, and the others keep theirs', async () => {
    const { machine, agent } = environment();
    await MachineUser.add(machine, 'carol');
    const pid = await agent.mainPid();
    await using seen = await GateProbe.start(machine, Object.values(GATES));
    await agent.configure({ users: { ...CONFIG.users, carol: {} } });
    expect(await agent.systemctl('reload')).toMatchObject({ code: 0 });
    // The signal that the unit sends is all that `systemctl reload` waits for.
    await until('carol has a gate', async () => (await machine.run(['test', '-S', CAROLS_GATE])).code === 0);
    await using hers = await GateProbe.start(machine, [CAROLS_GATE]);
    expect(await hers.end()).toEqual(ALL_ANSWERED);
    expect(await seen.end()).toEqual(ALL_ANSWERED);
    expect(await agent.mainPid()).toBe(pid);
  });

  test('a file that is wrong changes nothing, and the log says what is wrong with it', async () => {
    const { machine, agent } = environment();
    const pid = await agent.mainPid();
    await using seen = await GateProbe.start(machine, [...Object.values(GATES), CAROLS_GATE]);
    await agent.writeConfig('users: { alice: {} }\nno_such_key: 1\n');
    await agent.systemctl('reload');
    await agent.waitForJournal(/no_such_key/);
    expect(await seen.end()).toEqual(ALL_ANSWERED);
    expect(await agent.mainPid()).toBe(pid);
    await agent.waitUntilReady();
  });
});
