import { readFileSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import { type Environment, startEnvironment } from '../support/environment.ts';
import type { NetworkOptions } from '../support/nomad/group-network.ts';
import { type StandInNomad, startStandInNomad } from '../support/stand-in-nomad.ts';
import { until } from '../support/until.ts';

/** An environment without gates: the driver has Podman's own sockets, and what the agent does is a race with it. */
export function startWithoutGates(network?: NetworkOptions): Promise<Environment<StandInNomad>> {
  return startEnvironment({
    startNomad: ({ sandbox, ...options }) => {
      const sockets = Object.fromEntries(sandbox.users.map((user) => [user.name, user.socket]));
      return startStandInNomad({ ...options, sockets, ...(network ? { network } : {}) });
    },
    config: { ordering: 'watch' },
  });
}

/** Lets the agent win, in this test: the driver begins with a task `t` of alice's when all is ready for it. */
export function letAgentWin({ nomad, agent, sandbox }: Environment<StandInNomad>): void {
  const pause = sandbox.user('alice').pausePid();
  const isReady = async (id: string) => {
    // Its task directory, which only the agent mounts: the allocation can be ready before Nomad has made that.
    const mounts = readFileSync(`/proc/${pause}/mountinfo`, 'utf8');
    if (!mounts.includes(` ${nomad.allocDir}/${id}/t/local `)) return false;
    return (await agent.status()).allocations.some((one) => one.id === id && one.state === 'ready');
  };
  onTestFinished(nomad.slowDriver((id) => until('the agent has prepared it', () => isReady(id))));
}
