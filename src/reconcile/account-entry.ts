import type { Refusal } from '../model/explanation.ts';
import type { HostUser } from './host-user.ts';

/** What is known of a user: an account, that there is none, or nothing yet and why. */
export type AccountAnswer =
  | {
      readonly kind: 'known';
      readonly account: HostUser;
      /** Why no container must run with the user's subordinate ids, or that there are none. */
      readonly idProblem?: Refusal | undefined;
    }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'pending'; readonly why: string };

/** Told of an account that is there now, or is another one than before; undefined: there is none any more. Must not throw. */
export type ChangeListener = (account: HostUser | undefined) => void;

/** What Accounts remembers of a user. */
export interface AccountEntry {
  readonly user: string | number;
  /** What was last found; stays while the name service fails. */
  account: HostUser | undefined;
  /** Since when the name service does not know the account any more, by the monotonic clock, ms. */
  missingSince: number | undefined;
  /** Look-ups in a row that found no account. */
  misses: number;
  /** Why the last look-up has said nothing. */
  failure: string | undefined;
  /** When the next look-up is due, by the monotonic clock, ms. */
  dueAt: number;
  lookup: Promise<void> | undefined;
  stopTimer: () => void;
  readonly watchers: Set<ChangeListener>;
  /** What was last said of the account's subordinate ids, and by what. */
  judged: { readonly by: string; readonly problem: Refusal | undefined } | undefined;
  /** Of the problem with its ids, what has been reported. */
  reportedProblem: string | undefined;
}

/** An entry of a user of whom nothing is known yet, and who is to be looked up. */
export function newEntry(user: string | number): AccountEntry {
  return {
    user,
    account: undefined,
    missingSince: undefined,
    misses: 0,
    failure: undefined,
    dueAt: Number.NEGATIVE_INFINITY,
    lookup: undefined,
    stopTimer: () => undefined,
    watchers: new Set(),
    judged: undefined,
    reportedProblem: undefined,
  };
}

/** What an entry says, as it is. */
export function answerOf({ user, account, misses, failure, lookup, watchers }: AccountEntry): AccountAnswer {
  // Who was not asked for a while is looked up before it counts again, where the name service answers.
  const isOld = lookup !== undefined && watchers.size === 0 && misses === 0;
  if (account && !isOld) return { kind: 'known', account };
  if (failure === undefined && !lookup) return { kind: 'unknown' };
  return { kind: 'pending', why: failure ?? `user ${user} is being looked up` };
}

/** Another one would be another user's gate, or another one's files. */
export function isSame(a: HostUser | undefined, b: HostUser | undefined): boolean {
  return a?.name === b?.name && a?.uid === b?.uid && a?.gid === b?.gid && a?.home === b?.home;
}
