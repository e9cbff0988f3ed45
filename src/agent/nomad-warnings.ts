import type { Config } from '../config/config.ts';
import { driverSocketWarnings } from '../model/driver-sockets.ts';
import type { AgentSelf } from '../nomad/agent-self.ts';
import type { Accounts } from '../reconcile/accounts.ts';
import { socketOf } from './host.ts';

/** Where what Nomad says of itself does not fit our configuration, in words. */
export function nomadWarnings(
  self: AgentSelf,
  { ordering, gate, users }: Pick<Config, 'ordering' | 'gate' | 'users'>,
  accounts: Pick<Accounts, 'get'>,
): string[] {
  const podmanSockets = new Map(
    [...users].map(([name, { socket }]) => {
      const answer = accounts.get(name);
      return [name, answer.kind === 'known' ? socketOf(answer.account.uid, socket) : socket];
    }),
  );
  const gateDir = ordering === 'gate' ? gate.dir : undefined;
  return [...self.disagreements, ...driverSocketWarnings(self.podmanSockets, { gateDir, podmanSockets })];
}
