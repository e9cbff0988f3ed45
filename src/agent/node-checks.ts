import type { Config } from '../config/config.ts';
import { codeOf, messageOf } from '../errors.ts';
import { hostFacts } from '../linux/host-facts.ts';
import { programsIn } from '../linux/programs.ts';
import { type Answer, type Check, makeChecks } from '../model/checks/check.ts';
import { HOST_CHECKS, type HostFacts } from '../model/checks/host.ts';
import { type DataDirFacts, NOMAD_CHECKS, type NomadFacts } from '../model/checks/nomad.ts';
import { ACCOUNT_CHECKS, type AccountFacts } from '../model/checks/user.ts';
import type { AgentSelf } from '../nomad/agent-self.ts';
import type { Accounts } from '../reconcile/accounts.ts';
import { dataDirFacts } from '../resources/data-dir-facts.ts';
import { socketOf } from './host.ts';

/** What of this host the checks go by. */
export interface Surroundings {
  readonly host: HostFacts;
  readonly dataDir: Answer<DataDirFacts>;
  readonly cniPlugins: ReadonlySet<string>;
}

/** Looks at this host. It takes milliseconds where there are many mounts: not for each question. */
export function lookAround(self: Pick<AgentSelf, 'allocDir' | 'dataDir' | 'cniPath'>): Surroundings {
  return { host: hostFacts(), dataDir: lookAtDataDir(self), cniPlugins: programsIn(self.cniPath) };
}

function lookAtDataDir(self: Pick<AgentSelf, 'allocDir' | 'dataDir'>): Answer<DataDirFacts> {
  try {
    return { value: dataDirFacts(self) };
  } catch (error) {
    return { code: codeOf(error), problem: messageOf(error) };
  }
}

/** What nodeChecks takes of the configuration. */
type ConfigOfChecks = Pick<Config, 'ordering' | 'gate' | 'users' | 'nomad'>;

/** Those of doctor's checks of Nomad and this host that need nothing but what the agent asks for anyhow. */
export function nodeChecks(
  self: AgentSelf,
  { host, dataDir, cniPlugins }: Surroundings,
  { ordering, gate, users, nomad }: ConfigOfChecks,
  accounts: Pick<Accounts, 'get'>,
): Check[] {
  const podmanSockets = new Map(
    [...users].map(([name, { socket }]) => {
      const answer = accounts.get(name);
      return [name, answer.kind === 'known' ? socketOf(answer.account.uid, socket) : socket];
    }),
  );
  const facts: NomadFacts = {
    address: nomad.address,
    self: { value: self },
    // Of the driver's health Nomad tells too late what is over, and of events the stream itself tells.
    ...{ driver: undefined, events: undefined, nodeProblem: undefined },
    dataDir,
    cniPlugins,
    served: { gateDir: ordering === 'gate' ? gate.dir : undefined, podmanSockets },
    gateTimeoutMs: gate.timeoutMs,
  };
  return [...makeChecks(HOST_CHECKS, host), ...makeChecks(NOMAD_CHECKS, facts)];
}

/** Doctor's checks of the accounts of the configuration's users, by what the name service has said. */
export function accountChecks(
  { users, minUid }: Pick<Config, 'users' | 'minUid'>,
  accounts: Pick<Accounts, 'get'>,
): Check[] {
  return [...users.keys()].flatMap((name) =>
    makeChecks(ACCOUNT_CHECKS, { name, minUid, ...accountFacts(accounts.get(name)) }, name),
  );
}

function accountFacts(answer: ReturnType<Accounts['get']>): Pick<AccountFacts, 'account' | 'ids'> {
  if (answer.kind === 'pending') return { account: { code: 'name_service', problem: answer.why }, ids: undefined };
  if (answer.kind === 'unknown') return { account: { value: undefined }, ids: undefined };
  const problem = answer.idProblem;
  return { account: { value: answer.account }, ids: problem && { problem, remedy: undefined, counts: undefined } };
}
