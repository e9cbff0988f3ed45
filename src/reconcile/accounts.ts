import PQueue from 'p-queue';
import { backoffMs } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import { codeOf, messageOf, NotYetError } from '../errors.ts';
import type { Log } from '../log.ts';
import {
  type AccountAnswer,
  type AccountEntry,
  answerOf,
  type ChangeListener,
  isSame,
  newEntry,
} from './account-entry.ts';
import { type HostUser, lookUpHostUser, lookUpSignal } from './host-user.ts';
import { IdProblems } from './id-problems.ts';
import { SubordinateIds } from './subordinate-ids.ts';

/** What Accounts works with. */
interface AccountsParts {
  readonly clock: Pick<Clock, 'monotonic' | 'after'>;
  readonly log: Log;
  /** Asks the name service. @throws where it does not answer */
  readonly lookUp?: (user: string | number, closing: AbortSignal) => Promise<HostUser | undefined>;
  readonly subordinateIds?: Pick<SubordinateIds, 'refresh' | 'problemOf' | 'changes'>;
}

const KNOWN_MS = 30_000;
/** Between look-ups of who was not found: soon at first, since accounts are made and directory services come up. */
const MISS_BACKOFF = { firstMs: 500, mostMs: 10_000 };
/** A directory service that was restarted is for getent(1) as if it did not know its users: whoever was known is gone only after that. */
const GONE_MS = 15_000;
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
  readonly #entries = new Map<string | number, AccountEntry>();
  readonly #listeners = new Set<() => void>();
  readonly #closing = new AbortController();
  readonly #idProblems: IdProblems;
  readonly #queues = {
    watched: new PQueue({ concurrency: CONCURRENCY.watched }),
    others: new PQueue({ concurrency: CONCURRENCY.others }),
  };

  constructor(parts: AccountsParts) {
    this.#parts = { lookUp: lookUpHostUser, subordinateIds: new SubordinateIds(), ...parts };
    this.#idProblems = new IdProblems(this.#parts.subordinateIds, () => this.#watched(), parts.log);
  }

  /** What is known of a user now. What is not known, or was not asked for half a minute, is looked up from now on. */
  get(user: string | number): AccountAnswer {
    const watched = typeof user === 'number' ? this.#watchedWith(user) : undefined;
    if (watched) return this.#judged(watched);
    const entry = this.#entryOf(user);
    if (!entry) return { kind: 'pending', why: `more than ${MOST_KEPT} users are being looked up` };
    if (entry.dueAt <= this.#parts.clock.monotonic()) void this.#lookUp(entry);
    return this.#judged(entry);
  }

  /** The account of a user where it is known, as get. */
  known(user: string | number): HostUser | undefined {
    const answer = this.get(user);
    return answer.kind === 'known' ? answer.account : undefined;
  }

  /**
   * Looks a user of the configuration up until there is an account, and again and again then.
   * @param onChange told of the account when it is there, changes or goes; never during the call
   * @returns a function that ends it
   */
  watch(name: string, onChange: ChangeListener): () => void {
    const entry = this.#entryOf(name) ?? this.#addEntry(name);
    entry.watchers.add(onChange);
    this.#idProblems.usersChanged();
    const { account } = entry;
    if (account) queueMicrotask(() => entry.watchers.has(onChange) && entry.account === account && onChange(account));
    this.#schedule(entry);
    return () => {
      entry.watchers.delete(onChange);
      if (entry.watchers.size === 0) entry.stopTimer();
      this.#idProblems.usersChanged();
    };
  }

  /** Resolves when the look-up of a user that is under way has ended, however it ends. */
  async whenLookedUp(user: string | number): Promise<void> {
    await this.#entries.get(user)?.lookup;
  }

  /** Calls the listener, which must not throw, whenever the name service has answered or failed. @returns a function that ends it */
  onAnswer(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Ends every look-up; no other begins. */
  close(): void {
    this.#closing.abort(new NotYetError('agent_stopping', 'the agent is stopping'));
    for (const { stopTimer } of this.#entries.values()) stopTimer();
  }

  #watched(): AccountEntry[] {
    return [...this.#entries.values()].filter(({ watchers }) => watchers.size > 0);
  }

  /** A user of the configuration is found by uid without a look-up of its own, and by the name that stands there. */
  #watchedWith(uid: number): AccountEntry | undefined {
    return this.#watched().find(({ account }) => account?.uid === uid);
  }

  #judged(entry: AccountEntry): AccountAnswer {
    const answer = answerOf(entry);
    return answer.kind === 'known' ? { ...answer, idProblem: this.#idProblems.of(entry) } : answer;
  }

  /** Undefined where there are too many users of whom each is still being looked up. */
  #entryOf(user: string | number): AccountEntry | undefined {
    const known = this.#entries.get(user);
    if (known) return known;
    return this.#entries.size < MOST_KEPT || this.#forgetOne() ? this.#addEntry(user) : undefined;
  }

  #addEntry(user: string | number): AccountEntry {
    const entry = newEntry(user);
    this.#entries.set(user, entry);
    return entry;
  }

  /** The one that has been here longest, and that nobody is waiting for. @returns whether there was one */
  #forgetOne(): boolean {
    for (const { user, watchers, lookup } of this.#entries.values()) {
      if (watchers.size > 0 || lookup) continue;
      return this.#entries.delete(user);
    }
    return false;
  }

  #schedule(entry: AccountEntry): void {
    entry.stopTimer();
    if (entry.watchers.size === 0 || entry.lookup || this.#closing.signal.aborted) return;
    const inMs = entry.dueAt - this.#parts.clock.monotonic();
    if (inMs <= 0) void this.#lookUp(entry);
    else entry.stopTimer = this.#parts.clock.after(inMs, () => void this.#lookUp(entry));
  }

  /** Resolves when the look-up under way has ended, however it ends. */
  #lookUp(entry: AccountEntry): Promise<void> {
    const queue = entry.watchers.size > 0 ? this.#queues.watched : this.#queues.others;
    entry.lookup ??= queue.add(() => this.#ask(entry));
    return entry.lookup;
  }

  async #ask(entry: AccountEntry): Promise<void> {
    const { lookUp, subordinateIds, clock, log } = this.#parts;
    const { signal } = this.#closing;
    const before = entry.account;
    try {
      const found = await lookUp(entry.user, signal);
      if (found) await subordinateIds.refresh(found, lookUpSignal(signal));
      this.#conclude(entry, found);
    } catch (error) {
      if (signal.aborted) return;
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
    this.#idProblems.report();
    for (const listener of this.#listeners) listener();
  }

  #conclude(entry: AccountEntry, found: HostUser | undefined): void {
    entry.failure = undefined;
    if (found) {
      if (!isSame(entry.account, found)) entry.judged = undefined;
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

  #tellChange({ user, account, watchers }: AccountEntry): void {
    if (watchers.size === 0) return;
    this.#idProblems.usersChanged();
    const { log } = this.#parts;
    if (account) log.info({ user, uid: account.uid }, `user ${user} has uid ${account.uid} on this host`);
    else log.warn({ user, code: 'unknown_user' }, `user ${user} is not on this host any more`);
    for (const onChange of watchers) onChange(account);
  }
}
