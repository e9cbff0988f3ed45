import { backoffMs } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import { codeOf, isRetryable, messageOf, NotYetError, retryInMs } from '../errors.ts';
import type { Metrics, StepKind } from '../metrics.ts';
import type { Allocation } from '../model/allocation.ts';
import { type Desired, desire, desireIfEnded, grantedBy, type Rules } from '../model/desired.ts';
import type { Explanation } from '../model/explanation.ts';
import { needsOf, type UserNeeds } from '../model/user-needs.ts';
import { USER_NOT_LOOKED_UP } from '../resources/podman-namespaces.ts';
import { ORDER, type Resource, type Step, type UserResource } from '../resources/resource.ts';
import { explain } from './explain.ts';
import { nextTold } from './listeners.ts';
import { AllocationReader, type ReaderOptions } from './reader.ts';
import { type AllocationRecord, newRecord, type Outcome, resultOf, shareOf, UNDECIDED } from './record.ts';
import { PassReports } from './report.ts';
import { type RuleSources, rulesFor } from './rules.ts';
import { attemptEach, settle } from './settle.ts';
import { UserPasses } from './user-passes.ts';
import { type Turn, WorkQueue } from './workqueue.ts';

const BACKOFF = { firstMs: 100, mostMs: 30_000 };
/** How often in a row an error may say that it wants to be tried again soon: a user can make some errors last. */
const MOST_SOON = 50;
/** As many as sixteen users at their worst have at once. */
const CONCURRENCY = 32;
/** A user who makes us wait keeps nobody else waiting, and has two passes at most. */
const USER_SLOTS = 2;
/** Nomad alone is asked in these. */
const UNDECIDED_SLOTS = 8;
/** Where a pass has failed after that, something of the user's did not answer in time, most likely. */
const SLOW_MS = 1000;

/** What the reconciler works with. */
export interface ReconcilerOptions extends ReaderOptions, RuleSources {
  /** What each allocation has for itself. */
  readonly resources: readonly Resource[];
  /** What the allocations of a user have together. */
  readonly userResources: readonly UserResource[];
  /** Whether the network namespace of an allocation belongs to its user, as far as was last seen. */
  readonly isNetnsOwned: (id: string) => boolean;
  readonly clock: Clock;
  readonly metrics: Metrics;
}

type Granted = Desired & { kind: 'access' };

/**
 * Brings this host to what Nomad says of each allocation. A wake-up carries an id and nothing else; each pass reads
 * the state of the host, makes it what it should be, and looks again. A vanished allocation desires nothing: cleaning up is no
 * path of its own.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #queue: WorkQueue;
  readonly #records = new Map<string, AllocationRecord>();
  readonly #reader: AllocationReader;
  readonly #users: UserPasses;
  readonly #reports: PassReports;
  /** What is expected here and was not decided yet. What the gate alone names is not: nobody is to keep things here by asking. */
  readonly #undecided = new Set<string>();
  readonly #onEnded: ((uids: Iterable<number>) => void)[] = [];
  #isEverythingFound = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    const { clock, metrics } = options;
    this.#reader = new AllocationReader(options, this.#records);
    this.#reports = new PassReports(options);
    this.#users = new UserPasses({
      resources: options.userResources,
      needsOf: (uid) => this.#needsOf(uid),
      isComplete: () => this.#isComplete,
      apply: (step, user, allocation) =>
        this.#reports.apply(step, allocation === undefined ? { user } : { allocation }),
      onFailure: (error) => this.#reports.left(error),
    });
    this.#queue = new WorkQueue({
      run: (id, turn) => this.#pass(id, turn),
      shareOf: (id) => this.#records.get(id)?.share ?? UNDECIDED,
      slots: (share) => (share === UNDECIDED ? UNDECIDED_SLOTS : USER_SLOTS),
      concurrency: CONCURRENCY,
      clock,
      metrics,
    });
  }

  /** Something about this allocation may have changed: what is known of it is old. */
  enqueue(id: string): void {
    this.#reader.markStale(id);
    this.#queue.add(id);
  }

  /** Something of this allocation has changed on the host; of what Nomad says of it that is no news. */
  enqueueHostChange(id: string): void {
    this.#queue.add(id);
  }

  /** What decides over all allocations has changed; of what Nomad says of them that is no news. */
  enqueueAll(): void {
    for (const id of this.#records.keys()) this.#queue.add(id, 'due');
  }

  /** The name service has answered: allocations that wait for what it says of a user have a pass. */
  enqueueWaiting(): void {
    for (const { id, outcome } of this.#records.values()) {
      if (outcome?.kind === 'failed' && codeOf(outcome.error) === USER_NOT_LOOKED_UP) this.#queue.add(id);
    }
  }

  /** Nomad listed these allocations: their next pass need not ask for them again. */
  enqueueListed(allocations: readonly Allocation[]): void {
    this.#reader.list(allocations);
    for (const { id } of allocations) {
      this.#expect(id);
      this.#queue.add(id, 'due');
    }
    const listed = new Set(allocations.map(({ id }) => id));
    for (const id of this.#records.keys()) {
      if (listed.has(id)) continue;
      // What we know and Nomad did not list proves nothing by its absence: each is asked for by its id.
      this.#reader.markStale(id);
      this.#queue.add(id, 'due');
    }
  }

  /**
   * After a listing, something of these allocations is on this host, and of no others: they get a pass unless one is coming
   * anyway. What no allocation needs is taken away once it is known what all need.
   */
  enqueueFound(ids: readonly string[]): void {
    for (const id of ids) {
      const isKnown = this.#records.has(id);
      this.#expect(id);
      if (!isKnown) this.#queue.add(id, 'due');
    }
    this.#isEverythingFound = true;
    this.#users.clearAll();
  }

  /**
   * Resolves with the outcome of a pass that starts after the call, before others in the queue. The host is looked at
   * afresh; Nomad is asked unless the allocation was settled and Nomad has told of no change since.
   */
  passNow(id: string, signal: AbortSignal): Promise<Outcome> {
    if (!this.#options.isUpToDate()) this.#reader.markStale(id);
    return nextTold(this.#recordOf(id).waiting, signal, () => this.#queue.add(id, 'awaited'));
  }

  /** The driver has begun to start a task of it: a create is to come, which will not have to wait for what is done by then. */
  enqueueStart(id: string): void {
    const record = this.#recordOf(id);
    record.isStarting = true;
    record.starts++;
    this.#reader.markStale(id);
    this.#queue.add(id, 'awaited');
  }

  /**
   * What is decided over an allocation by what Nomad says of it after the driver last began to start a task of it.
   * @throws the signal's reason
   */
  async desired(id: string, signal: AbortSignal): Promise<Desired> {
    const record = this.#recordOf(id);
    if (record.starts === 0) this.enqueueStart(id);
    const { starts } = record;
    while (!record.desired || record.decidedStarts < starts) await nextTold(record.deciding, signal);
    return record.desired;
  }

  /** A container that joins the allocation's netns is held at the gate: it is to be migrated to its user from now on. */
  awaitNetns(id: string): void {
    this.#recordOf(id).isNetnsAwaited = true;
  }

  /** A container of a task that is held at the gate is to see these: paths from the allocation's directory on. */
  awaitMounts(id: string, task: string, paths: readonly string[]): void {
    const { named, creates } = this.#recordOf(id);
    creates.set(task, this.#options.clock.monotonic());
    for (const path of [task, ...paths]) named.add(path);
  }

  /** Resolves with the outcome of the next pass, whenever something causes it. */
  nextOutcome(id: string, signal: AbortSignal): Promise<Outcome> {
    return nextTold(this.#recordOf(id).waiting, signal);
  }

  /** Calls when an allocation that had access is over, with the uids of the users that it was prepared for. */
  onEnded(listener: (uids: Iterable<number>) => void): void {
    this.#onEnded.push(listener);
  }

  /** Resolves when nothing is being done to this allocation, or about to be. */
  whenIdle(id: string): Promise<void> {
    return this.#queue.whenIdle(id);
  }

  /** What Nomad last said of an allocation; undefined where that is not remembered, or it said that there is none. */
  allocation(id: string): Allocation | undefined {
    return this.#records.get(id)?.allocation;
  }

  /** What is known, for status and metrics. */
  records(): Iterable<Readonly<AllocationRecord>> {
    return this.#records.values();
  }

  /**
   * What an allocation gets, and why, by what a pass would go by. Changes nothing.
   * @returns undefined where Nomad says that there is none of this id
   * @throws NotYetError where nothing is known of it and Nomad does not answer, and `left_behind`
   */
  async explain(id: string): Promise<Explanation | undefined> {
    const record = this.#records.get(id) ?? newRecord(id, this.#options.clock.now());
    const allocation = record.allocation ?? (await this.#options.readAllocation(id));
    if (!allocation && record.outcome?.kind === 'failed') throw leftBehind(record.outcome.error, id);
    if (!allocation) return undefined;
    const rules = await this.#rulesFor(record, allocation);
    return await explain(record, allocation, rules, {
      ...this.#options,
      needsOf: (uid, desired) => this.#needsOf(uid, desired),
    });
  }

  /** Resolves when the passes that run have ended; none starts after. */
  async stop(): Promise<void> {
    await this.#queue.stop();
    await this.#users.stop();
  }

  /** Whether it is known of everything that Nomad has listed, and that is on this host, what it should have. */
  get #isComplete(): boolean {
    return this.#isEverythingFound && this.#undecided.size === 0;
  }

  /** @param also of an allocation, in place of what its last pass went by */
  #needsOf(uid: number, also?: Desired): UserNeeds {
    const known = [...this.#records.values()].flatMap(({ id, desired }) => (desired && id !== also?.id ? desired : []));
    return needsOf(uid, also ? [...known, also] : known, this.#isComplete);
  }

  async #pass(id: string, turn: Turn): Promise<'slow' | 'done'> {
    const { clock } = this.#options;
    const started = clock.monotonic();
    const record = this.#recordOf(id);
    const waiting = [...record.waiting];
    record.waiting.clear();
    let decided = Number.POSITIVE_INFINITY;
    const goOn = () => {
      decided = clock.monotonic();
      return turn.goOnFor(record.share);
    };
    const outcome = await this.#reconcile(record, goOn).catch(
      (error: unknown): Outcome => ({ kind: 'failed', error, retryable: isRetryable(error) }),
    );
    if (outcome === 'put off') {
      for (const resolve of waiting) record.waiting.add(resolve);
      return 'done';
    }
    this.#conclude(record, outcome, started);
    for (const resolve of waiting) resolve(outcome);
    const isSlow = outcome.kind === 'failed' && outcome.retryable && clock.monotonic() - decided >= SLOW_MS;
    return isSlow && record.share !== UNDECIDED ? 'slow' : 'done';
  }

  /**
   * The main path: read, desire, observe and plan, apply, observe again.
   * @param goOn asked once it is known whose the allocation is, before anything of the user's is looked at
   */
  async #reconcile(record: AllocationRecord, goOn: () => boolean): Promise<Outcome | 'put off'> {
    const { starts } = record;
    const allocation = await this.#reader.read(record);
    record.allocation = allocation;
    const desired = await this.#desire(record, allocation);
    this.#decide(record, desired, starts);
    if (!goOn()) return 'put off';
    if (desired.kind === 'access') await this.#prepare(record, desired);
    if (desired.kind === 'nothing') await this.#remove(record, desired);
    return { kind: 'settled', desired, allocation };
  }

  async #desire(record: AllocationRecord, allocation: Allocation | undefined): Promise<Desired> {
    if (!allocation) return { kind: 'nothing', id: record.id, why: 'gone' };
    // What is over is cleaned up also while the name service does not say whose it was.
    const { nodeId } = this.#options.rules;
    return desireIfEnded(allocation, nodeId) ?? desire(allocation, await this.#rulesFor(record, allocation));
  }

  #rulesFor(record: Readonly<AllocationRecord>, allocation: Allocation): Promise<Rules> {
    return rulesFor(record, allocation, this.#options, this.#options.clock.monotonic());
  }

  #decide(record: AllocationRecord, desired: Desired, starts: number): void {
    record.desired = desired;
    record.decidedStarts = starts;
    for (const tell of record.deciding) tell();
    record.deciding.clear();
    record.share = shareOf(desired) ?? record.share;
    this.#undecided.delete(record.id);
    this.#users.proceed();
  }

  /** Nothing is granted after what failed. */
  async #prepare(record: AllocationRecord, desired: Granted): Promise<void> {
    for (const kind of ORDER) {
      try {
        await this.#prepareKind(kind, record, desired);
        record.found.add(kind);
      } catch (error) {
        record.found.delete(kind);
        throw error;
      }
    }
  }

  async #prepareKind(kind: StepKind, record: AllocationRecord, desired: Granted): Promise<void> {
    const { resources, userResources } = this.#options;
    const { id } = record;
    for (const resource of resources.filter((one) => one.kind === kind)) {
      await settle(
        () => resource.plan(desired),
        async (steps) => {
          this.#reports.late(record, resource, steps);
          for (const step of steps) await this.#reports.apply(step, { allocation: id });
        },
      );
    }
    const shared = userResources.filter((one) => one.kind === kind);
    const uids = new Set(shared.flatMap((resource) => [...resource.neededBy(desired)]));
    await Promise.all([...uids].map((uid) => this.#users.settle(uid, id)));
  }

  /** Each thing goes that can: what fails keeps nothing else there. @throws the first of what failed */
  async #remove({ id, granted, found }: AllocationRecord, desired: Desired): Promise<void> {
    const { resources } = this.#options;
    let isRemoved = false;
    const apply = async (step: Step) => {
      await this.#reports.apply(step, { allocation: id });
      isRemoved = true;
    };
    const inOrder = ORDER.flatMap((kind) => resources.filter((one) => one.kind === kind));
    const remove = async (resource: Resource) => {
      await settle(
        () => resource.plan(desired),
        (steps) => attemptEach(steps, apply),
      );
      found.delete(resource.kind);
    };
    try {
      await attemptEach(inOrder, remove);
    } finally {
      for (const uid of new Set(granted?.values())) await this.#users.clear(uid);
      if (isRemoved && !granted) this.#users.clearAll();
    }
  }

  #recordOf(id: string): AllocationRecord {
    const known = this.#records.get(id);
    if (known) return known;
    const record = newRecord(id, this.#options.clock.now());
    this.#records.set(id, record);
    return record;
  }

  /** Nomad has listed it, or something of it is on this host: until it is known what it should have, others lose nothing. */
  #expect(id: string): void {
    if (!this.#recordOf(id).desired) this.#undecided.add(id);
  }

  #conclude(record: AllocationRecord, outcome: Outcome, started: number): void {
    const { clock } = this.#options;
    if (!record.outcome || resultOf(record.outcome) !== resultOf(outcome)) record.since = clock.now();
    record.outcome = outcome;
    if (outcome.kind === 'settled') this.#settled(record, outcome.desired, outcome.allocation);
    else record.failures++;
    this.#reports.pass(record, outcome, clock.monotonic() - started);
    this.#reports.count(record, this.#records.has(record.id));
    if (outcome.kind === 'settled' || !outcome.retryable) return;
    const inMs = backoffMs(record.failures, BACKOFF, Math.random());
    const soonMs = record.failures <= MOST_SOON ? retryInMs(outcome.error) : Number.POSITIVE_INFINITY;
    this.#queue.addAfter(record.id, Math.min(inMs, soonMs));
  }

  #settled(record: AllocationRecord, desired: Desired, allocation: Allocation | undefined): void {
    record.failures = 0;
    record.granted = grantedBy(desired) ?? record.granted;
    // Done, for this network namespace: Nomad may make another one, and not be finished with it.
    if (desired.kind === 'access' && desired.netns?.isAwaited) {
      record.isNetnsAwaited = false;
      record.isStarting = false;
    }
    // A start that has begun meanwhile is decided by the pass that it has asked for: of this record.
    const isAskedFor = record.waiting.size > 0 || record.decidedStarts < record.starts;
    if (desired.kind === 'nothing' && !isAskedFor) this.#forget(record, allocation);
  }

  #forget({ id, granted }: AllocationRecord, allocation: Allocation | undefined): void {
    this.#records.delete(id);
    this.#undecided.delete(id);
    this.#reader.forget(id, allocation);
    if (granted) for (const tell of this.#onEnded) tell(granted.values());
  }
}

function leftBehind(error: unknown, id: string): NotYetError {
  const message = `Nomad knows no allocation ${id} any more, and what is left of it cannot be removed: ${messageOf(error)}`;
  return new NotYetError('left_behind', message, error);
}
