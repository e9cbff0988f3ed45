import type { Clock } from '../clock.ts';
import type { Allocation } from '../model/allocation.ts';
import type { Rules } from '../model/desired.ts';
import { usersNamedIn } from '../model/podman-user.ts';
import type { KnownUser } from '../model/verdict.ts';
import type { AccountAnswer } from './account-entry.ts';
import { notLookedUp } from './host-user.ts';
import type { AllocationRecord } from './record.ts';

const NO_VOLUMES: ReadonlyMap<string, string> = new Map();

/** Where what decides over an allocation comes from. */
export interface RuleSources {
  readonly rules: Omit<
    Rules,
    'accounts' | 'granted' | 'hostVolumes' | 'isNetnsAwaited' | 'isStarting' | 'named' | 'creating'
  >;
  /** The host volumes of this node, name to path; told which are wanted. @throws NotYetError where Nomad does not say */
  readonly hostVolumes: (names: readonly string[]) => Promise<ReadonlyMap<string, string>>;
  /** What is known of a user now; who is not known yet is being looked up. */
  readonly accountOf: (nameOrUid: string | number) => AccountAnswer;
  /** The uids that the tasks of an allocation have been prepared for on this host, by task: what a restart of ours forgets. */
  readonly grantedOn: (id: string) => ReadonlyMap<string, number>;
  readonly clock: Pick<Clock, 'monotonic'>;
}

/** The driver gives up after that time by default: what was created has been started by then, or is not. */
const STARTING_MS = 60_000;

/** What decides over an allocation now. @throws NotYetError as hostVolumes, and `user_not_looked_up` */
export async function rulesFor(
  record: Readonly<AllocationRecord>,
  allocation: Allocation,
  { rules, accountOf, grantedOn, hostVolumes, clock }: RuleSources,
): Promise<Rules> {
  const now = clock.monotonic();
  const granted = record.granted ?? grantedOn(record.id);
  const named = [...usersNamedIn(allocation, rules.metaKey), ...granted.values()];
  const claims = allocation.volumes.filter(({ type }) => type === 'host');
  return {
    ...rules,
    isNetnsAwaited: record.isNetnsAwaited,
    isStarting: record.isStarting,
    named: [...record.named],
    creating: new Set([...record.creates].filter(([, at]) => now - at < STARTING_MS).map(([task]) => task)),
    accounts: new Map(named.map((name) => [name, knownUser(name, accountOf(name))])),
    granted,
    hostVolumes: claims.length > 0 ? await hostVolumes(claims.map(({ source }) => source)) : NO_VOLUMES,
  };
}

function knownUser(user: string | number, answer: AccountAnswer): KnownUser | undefined {
  if (answer.kind === 'pending') throw notLookedUp(user, answer.why);
  return answer.kind === 'known' ? { ...answer.account, idProblem: answer.idProblem } : undefined;
}
