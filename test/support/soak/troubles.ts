import type { Environment } from '../environment.ts';
import type { StandInNomad } from '../stand-in-nomad.ts';
import { until } from '../until.ts';
import type { Dice } from './dice.ts';

/** Longest that something is away, milliseconds. */
const AWAY_MS = 1500;

/** Something that goes wrong; when it resolves, everything is up again. */
type Trouble = (environment: Environment<StandInNomad>, dice: Dice) => Promise<void>;

/** What goes wrong in a soak, one at a time, at no particular point of what is under way. */
export const TROUBLES: Readonly<Record<string, Trouble>> = {
  'agent killed': (environment, dice) => restartAgent(environment, dice, 'SIGKILL'),
  'agent killed again': (environment, dice) => restartAgent(environment, dice, 'SIGKILL'),
  'agent stopped': (environment, dice) => restartAgent(environment, dice, 'SIGTERM'),
  'agent killed while it starts': async (environment, dice) => {
    await environment.agent.stop('SIGKILL');
    await environment.agent.startUnready();
    await dice.pause(100);
    await restartAgent(environment, dice, 'SIGKILL');
  },
  'agent frozen': async ({ agent }, dice) => {
    process.kill(agent.pid, 'SIGSTOP');
    await dice.pause(AWAY_MS);
    process.kill(agent.pid, 'SIGCONT');
  },
  'clock of the agent set': async ({ agent }) => {
    // Before it has loaded what sets the clock the signal would end it.
    await until('the agent answers', () => agent.livez().then(() => true));
    process.kill(agent.pid, 'SIGUSR2');
  },
  'Podman service killed': async ({ sandbox }, dice) => {
    const user = dice.pick(sandbox.users);
    await user.stopService('SIGKILL');
    await dice.pause(AWAY_MS);
    await user.startService();
  },
  'pause process killed': async ({ sandbox }, dice) => {
    const user = dice.pick(sandbox.users);
    const pid = user.pausePid();
    await user.stopService('SIGKILL');
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
    await user.startService();
  },
  'Podman hanging': async ({ sandbox }, dice) => {
    const wake = dice.pick(sandbox.users).hangService();
    await dice.pause(AWAY_MS);
    wake();
  },
  "Nomad's API away": async ({ nomad }, dice) => {
    const endpoints = ['allocation', 'node-allocations', 'event-stream'] as const;
    for (const endpoint of endpoints) nomad.api.setFault(endpoint, { status: 500, text: 'No cluster leader' });
    nomad.api.cutConnections();
    await dice.pause(AWAY_MS);
    for (const endpoint of endpoints) nomad.api.setFault(endpoint);
  },
  "Nomad's client restarted": ({ nomad }) => nomad.restartClient(),
};

async function restartAgent({ agent }: Environment<StandInNomad>, dice: Dice, signal: NodeJS.Signals): Promise<void> {
  await agent.stop(signal);
  await dice.pause(AWAY_MS);
  await agent.startUnready();
}
