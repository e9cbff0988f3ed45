import type { Clock } from '../clock.ts';
import { codeOf, isRetryable } from '../errors.ts';
import type { Metrics } from '../metrics.ts';
import type { Allocation } from '../model/allocation.ts';
import { type Desired, desire, desireIfEnded } from '../model/desired.ts';
import type { Explanation } from '../model/explanation.ts';
import { USER_NOT_LOOKED_UP } from '../resources/podman-namespaces.ts';
import { AllocationRecords } from './allocation-records.ts';
import { AllocationResources, type AllocationResourcesOptions } from './allocation-resources.ts';
import { explainRecord } from './explain.ts';
import { nextTold } from './listeners.ts';
import { Outcomes } from './outcomes.ts';
import { AllocationReader, type ReaderOptions } from './reader.ts';
import { type AllocationRecord, newRecord, type Outcome, UNDECIDED } from './record.ts';
import { PassReports } from './report.ts';
import { type RuleSources, rulesFor } from './rules.ts';
import { UserPasses } from './user-passes.ts';
import { type Turn, WorkQueue } from './workqueue.ts';

/** As many as sixteen users at their worst have at once. */
const CONCURRENCY = 32;
/** A user who makes us wait keeps nobody else waiting, and has two passes at most. */
const USER_SLOTS = 2;
/** Nomad alone is asked in these. */
const UNDECIDED_SLOTS = 8;
/** Where a pass has failed after that, something of the user's did not answer in time, most likely. */
const SLOW_MS = 1000;

/** What the reconciler works with. */
interface ReconcilerOptions
  extends ReaderOptions,
    RuleSources,
    Pick<AllocationResourcesOptions, 'resources' | 'userResources'> {
  /** Whether the network namespace of an allocation belongs to its user, as far as was last seen. */
  readonly isNetnsOwned: (id: string) => boolean;
  readonly clock: Clock;
  readonly metrics: Metrics;
}

/**
 * Brings this host to what Nomad says of each allocation. A wake-up carries an id and nothing else; each pass reads
 * the state of the host, makes it what it should be, and looks again. A vanished allocation desires nothing: cleaning up is no
 * path of its own.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #queue: WorkQueue;
  readonly #records: AllocationRecords;
  readonly #reader: AllocationReader;
  readonly #users: UserPasses;
  readonly #resources: AllocationResources;
  readonly #outcomes: Outcomes;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    const { resources, userResources, clock, metrics } = options;
    const reports = new PassReports(options);
    const records = new AllocationRecords(() => clock.now());
    this.#records = records;
    this.#reader = new AllocationReader(options, records);
    this.#users = new UserPasses({
      resources: userResources,
      needsOf: (uid) => records.needsOf(uid),
      isComplete: () => records.isComplete,
      apply: (step, user, allocation) => reports.apply(step, allocation === undefined ? { user } : { allocation }),
      onFailure: (error) => reports.left(error),
    });
    this.#resources = new AllocationResources({ resources, userResources, users: this.#users, reports });
    this.#outcomes = new Outcomes({ records, reader: this.#reader, reports, clock });
    this.#queue = new WorkQueue({
      run: (id, turn) => this.#pass(id, turn),
      shareOf: (id) => records.get(id)?.share ?? UNDECIDED,
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
    for (const { id } of this.#records.values()) this.#queue.add(id, 'due');
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
      this.#records.expect(id);
      this.#queue.add(id, 'due');
    }
    const listed = new Set(allocations.map(({ id }) => id));
    for (const { id } of this.#records.values()) {
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
    for (const id of ids) if (!this.#records.expect(id)) this.#queue.add(id, 'due');
    this.#records.foundEverything();
    this.#users.clearAll();
  }

  /**
   * Resolves with the outcome of a pass that starts after the call, before others in the queue. The host is looked at
   * afresh; Nomad is asked unless the allocation was settled and Nomad has told of no change since.
   */
  passNow(id: string, signal: AbortSignal): Promise<Outcome> {
    if (!this.#options.isUpToDate()) this.#reader.markStale(id);
    return nextTold(this.#records.of(id).waiting, signal, () => this.#queue.add(id, 'awaited'));
  }

  /** The driver has begun to start a task of it: a create is to come, which will not have to wait for what is done by then. */
  enqueueStart(id: string): void {
    const record = this.#records.of(id);
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
    const record = this.#records.of(id);
    if (record.starts === 0) this.enqueueStart(id);
    const { starts } = record;
    while (!record.desired || record.decidedStarts < starts) await nextTold(record.deciding, signal);
    return record.desired;
  }

  /** A container that joins the allocation's netns is held at the gate: it is to be migrated to its user from now on. */
  awaitNetns(id: string): void {
    this.#records.of(id).isNetnsAwaited = true;
  }

  /** A container of a task that is held at the gate is to see these: paths from the allocation's directory on. */
  awaitMounts(id: string, task: string, paths: readonly string[]): void {
    const { named, creates } = this.#records.of(id);
    creates.set(task, this.#options.clock.monotonic());
    for (const path of [task, ...paths]) named.add(path);
  }

  /** Resolves with the outcome of the next pass, whenever something causes it. */
  nextOutcome(id: string, signal: AbortSignal): Promise<Outcome> {
    return nextTold(this.#records.of(id).waiting, signal);
  }

  /** Calls when an allocation that had access is over, with the uids of the users that it was prepared for. */
  onEnded(listener: (uids: Iterable<number>) => void): void {
    this.#outcomes.onEnded(listener);
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

  /** What an allocation gets, and why: as explainRecord. */
  explain(id: string): Promise<Explanation | undefined> {
    const record = this.#records.get(id) ?? newRecord(id, this.#options.clock.now());
    return explainRecord(record, { ...this.#options, needsOf: (uid, also) => this.#records.needsOf(uid, also) });
  }

  /** Resolves when the passes that run have ended; none starts after. */
  async stop(): Promise<void> {
    await this.#queue.stop();
    await this.#users.stop();
  }

  async #pass(id: string, turn: Turn): Promise<'slow' | 'done'> {
    const { clock } = this.#options;
    const started = clock.monotonic();
    const record = this.#records.of(id);
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
    const againInMs = this.#outcomes.conclude(record, outcome, clock.monotonic() - started);
    if (againInMs !== undefined) this.#queue.addAfter(id, againInMs);
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
    this.#records.decide(record, desired, starts);
    this.#users.proceed();
    if (!goOn()) return 'put off';
    if (desired.kind === 'access') await this.#resources.prepare(record, desired);
    if (desired.kind === 'nothing') await this.#resources.remove(record, desired);
    return { kind: 'settled', desired, allocation };
  }

  async #desire(record: AllocationRecord, allocation: Allocation | undefined): Promise<Desired> {
    if (!allocation) return { kind: 'nothing', id: record.id, why: 'gone' };
    // What is over is cleaned up also while the name service does not say whose it was.
    const ended = desireIfEnded(allocation, this.#options.rules.nodeId);
    return ended ?? desire(allocation, await rulesFor(record, allocation, this.#options));
  }
}
