import PQueue from 'p-queue';
import { backoffMs } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import { codeOf, messageOf, NotYetError } from '../errors.ts';
import { hasSubordinateIds, lookUpAccount } from '../linux/passwd.ts';
import type { Log } from '../log.ts';
import type { KnownUser } from '../model/verdict.ts';
import { USER_NOT_LOOKED_UP } from '../resources/podman-namespaces.ts';

/** A user of this host. */
export interface HostUser extends KnownUser {
  readonly gid: number;
  readonly home: string;
}

/** What is known of a user: an account, that there is none, or nothing yet and why. */
export type AccountAnswer =
  | { readonly kind: 'known'; readonly account: HostUser }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'pending'; readonly why: string };

/** What Accounts works with. */
export interface AccountsParts {
  readonly clock: Pick<Clock, 'monotonic' | 'after'>;
  readonly log: Log;
  /** Asks the name service. @throws where it does not answer */
  readonly lookUp?: (user: string | number, closing: AbortSignal) => Promise<HostUser | undefined>;
}

/** Told of an account that is there now, or is another one than before; undefined: there is none any more. Must not throw. */
type ChangeListener = (account: HostUser | undefined) => void;

interface Entry {
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
}

const KNOWN_MS = 30_000;
/** Between look-ups of who was not found: soon at first, since accounts are made and directory services come up. */
const MISS_BACKOFF = { firstMs: 500, mostMs: 10_000 };
/** A directory service that was restarted is for getent(1) as if it did not know its users: whoever was known is gone only after that. */
const GONE_MS = 15_000;
const LOOKUP_MS = 5000;
/** At most so many children at once for users of the configuration, and for whoever else a job names: job authors hold up nobody's gate. */
const CONCURRENCY = { watched: 8, others: 2 };
/** Job authors can name any number of users. */
const MOST_KEPT = 1000;

/**
 * The accounts of users, as the name service (NSS) has them: files, LDAP, SSSD. It is asked in the background, and what it
 * said is remembered; nothing here waits for it. One that hangs or fails changes nothing for users who were known.
 */
export class Accounts {
  readonly #parts: Required<AccountsParts>;
  readonly #entries = new Map<string | number, Entry>();
  readonly #listeners = new Set<() => void>();
  readonly #closing = new AbortController();
  readonly #queues = {
    watched: new PQueue({ concurrency: CONCURRENCY.watched }),
    others: new PQueue({ concurrency: CONCURRENCY.others }),
  };

  constructor(parts: AccountsParts) {
    this.#parts = { lookUp: lookUpHostUser, ...parts };
  }

  /** What is known of a user now. What is not known, or was not asked for half a minute, is looked up from now on. */
  get(user: string | number): AccountAnswer {
    const watched = typeof user === 'number' ? this.#watchedWith(user) : undefined;
    if (watched) return { kind: 'known', account: watched };
    const entry = this.#entryOf(user);
    if (entry.dueAt <= this.#parts.clock.monotonic()) void this.#lookUp(entry);
    return answerOf(entry);
  }

  /** The account of a user where it is known, as get. */
  known(user: string | number): HostUser | undefined {
    const answer = this.get(user);
    return answer.kind === 'known' ? answer.account : undefined;
  }

  /**
   * The account of a user, once the name service has answered.
   * @throws NotYetError `user_not_looked_up` where it does not
   */
  async find(user: string | number): Promise<HostUser | undefined> {
    this.get(user);
    await this.#entryOf(user).lookup;
    const answer = this.get(user);
    if (answer.kind === 'pending') throw notLookedUp(user, answer.why);
    return answer.kind === 'known' ? answer.account : undefined;
  }

  /**
   * Looks a user of the configuration up until there is an account, and again and again then.
   * @param onChange told of the account when it is there, changes or goes; never during the call
   * @returns a function that ends it
   */
  watch(name: string, onChange: ChangeListener): () => void {
    const entry = this.#entryOf(name);
    entry.watchers.add(onChange);
    const { account } = entry;
    if (account) queueMicrotask(() => entry.watchers.has(onChange) && entry.account === account && onChange(account));
    this.#schedule(entry);
    return () => {
      entry.watchers.delete(onChange);
      if (entry.watchers.size === 0) entry.stopTimer();
    };
  }

  /** Calls the listener, which must not throw, whenever the name service has answered or failed. @returns a function that ends it */
  onAnswer(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Which users of the configuration have no account, and why, in words. */
  problems(): string[] {
    const watched = [...this.#entries.values()].filter(({ watchers }) => watchers.size > 0);
    return watched.flatMap(({ user, account, failure }) => {
      if (account) return [];
      const why = failure ?? `getent passwd ${user} finds none`;
      return [
        `user ${user} of the configuration has no account on this host (${why}); it is looked up again and again`,
      ];
    });
  }

  /** Ends every look-up; no other begins. */
  close(): void {
    this.#closing.abort(new NotYetError('agent_stopping', 'the agent is stopping'));
    for (const { stopTimer } of this.#entries.values()) stopTimer();
  }

  /** A user of the configuration is found by uid without a look-up of its own, and by the name that stands there. */
  #watchedWith(uid: number): HostUser | undefined {
    for (const { account, watchers } of this.#entries.values()) {
      if (watchers.size > 0 && account?.uid === uid) return account;
    }
    return undefined;
  }

  #entryOf(user: string | number): Entry {
    const known = this.#entries.get(user);
    if (known) return known;
    if (this.#entries.size >= MOST_KEPT) this.#forgetOne();
    const entry: Entry = {
      user,
      account: undefined,
      missingSince: undefined,
      misses: 0,
      failure: undefined,
      dueAt: Number.NEGATIVE_INFINITY,
      lookup: undefined,
      stopTimer: () => undefined,
      watchers: new Set(),
    };
    this.#entries.set(user, entry);
    return entry;
  }

  /** The one that has been here longest, and that nobody is waiting for. */
  #forgetOne(): void {
    for (const { user, watchers, lookup } of this.#entries.values()) {
      if (watchers.size > 0 || lookup) continue;
      this.#entries.delete(user);
      return;
    }
  }

  #schedule(entry: Entry): void {
    entry.stopTimer();
    if (entry.watchers.size === 0 || entry.lookup || this.#closing.signal.aborted) return;
    const inMs = entry.dueAt - this.#parts.clock.monotonic();
    if (inMs <= 0) void this.#lookUp(entry);
    else entry.stopTimer = this.#parts.clock.after(inMs, () => void this.#lookUp(entry));
  }

  /** Resolves when the look-up under way has ended, however it ends. */
  #lookUp(entry: Entry): Promise<void> {
    const queue = entry.watchers.size > 0 ? this.#queues.watched : this.#queues.others;
    entry.lookup ??= queue.add(() => this.#ask(entry));
    return entry.lookup;
  }

  async #ask(entry: Entry): Promise<void> {
    const { lookUp, clock, log } = this.#parts;
    const before = entry.account;
    try {
      this.#conclude(entry, await lookUp(entry.user, this.#closing.signal));
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      entry.misses++;
      entry.failure = messageOf(error);
      const level = entry.watchers.size > 0 && entry.misses === 1 ? 'warn' : 'debug';
      log[level]({ user: entry.user, code: codeOf(error) }, `looking up user ${entry.user}: ${entry.failure}`);
    }
    entry.lookup = undefined;
    const inMs = entry.misses === 0 ? KNOWN_MS : backoffMs(entry.misses, MISS_BACKOFF, Math.random());
    entry.dueAt = clock.monotonic() + inMs;
    this.#schedule(entry);
    if (!isSame(before, entry.account)) this.#tellChange(entry);
    for (const listener of this.#listeners) listener();
  }

  #conclude(entry: Entry, found: HostUser | undefined): void {
    entry.failure = undefined;
    if (found) {
      entry.account = found;
      entry.missingSince = undefined;
      entry.misses = 0;
      return;
    }
    const now = this.#parts.clock.monotonic();
    entry.misses++;
    entry.missingSince ??= now;
    if (now - entry.missingSince >= GONE_MS) entry.account = undefined;
  }

  #tellChange({ user, account, watchers }: Entry): void {
    if (watchers.size === 0) return;
    const { log } = this.#parts;
    if (account) log.info({ user, uid: account.uid }, `user ${user} has uid ${account.uid} on this host`);
    else log.warn({ user, code: 'unknown_user' }, `user ${user} is not on this host any more`);
    for (const onChange of watchers) onChange(account);
  }
}

function answerOf({ user, account, misses, failure, lookup, watchers }: Entry): AccountAnswer {
  // Who was not asked for a while is looked up before it counts again, where the name service answers.
  const isOld = lookup !== undefined && watchers.size === 0 && misses === 0;
  if (account && !isOld) return { kind: 'known', account };
  if (failure === undefined && !lookup) return { kind: 'unknown' };
  return { kind: 'pending', why: failure ?? `user ${user} is being looked up` };
}

/** What another user's gate, or another one's files, would be. */
function isSame(a: HostUser | undefined, b: HostUser | undefined): boolean {
  return a?.name === b?.name && a?.uid === b?.uid && a?.gid === b?.gid && a?.home === b?.home;
}

/** What waits for the name service to answer. */
export function notLookedUp(user: string | number, why: string): NotYetError {
  return new NotYetError(USER_NOT_LOOKED_UP, `the account of user ${user} is not known yet: ${why}`);
}

/** Asks the name service, for five seconds at most. @throws NotYetError `name_service` */
export async function lookUpHostUser(user: string | number, closing?: AbortSignal): Promise<HostUser | undefined> {
  const signals = [AbortSignal.timeout(LOOKUP_MS), ...(closing ? [closing] : [])];
  const account = await lookUpAccount(user, AbortSignal.any(signals));
  return account && { ...account, hasSubordinateIds: hasSubordinateIds(account) };
}
