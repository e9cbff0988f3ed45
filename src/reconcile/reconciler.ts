import { backoffMs } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import { codeOf, isRetryable, messageOf, NotYetError, retryInMs } from '../errors.ts';
import { exemplarOf, type Metrics, type PassResult } from '../metrics.ts';
import type { Allocation } from '../model/allocation.ts';
import { type Desired, desire, desireIfEnded, grantedBy, type Rules } from '../model/desired.ts';
import type { Explanation } from '../model/explanation.ts';
import type { LiveVolume } from '../model/volume.ts';
import { USER_NOT_LOOKED_UP } from '../resources/podman-namespaces.ts';
import type { Resource, Step } from '../resources/resource.ts';
import { explain } from './explain.ts';
import { AllocationReader, type ReaderOptions } from './reader.ts';
import {
  type AllocationRecord,
  labelsOf,
  newRecord,
  type Outcome,
  shareOf,
  UNDECIDED,
  USER_CHANGED,
} from './record.ts';
import { type RuleSources, rulesFor } from './rules.ts';
import { type Turn, WorkQueue } from './workqueue.ts';

const BACKOFF = { firstMs: 100, mostMs: 30_000 };
/** How often in a row an error may say that it wants to be tried again soon: a user can make some errors last. */
const MOST_SOON = 50;
/** As many as sixteen users at their worst have at once. */
const CONCURRENCY = 32;
/** What a user makes us wait for keeps nobody else waiting, and of hers two things only. */
const USER_SLOTS = 2;
/** Nomad alone is asked in these. */
const UNDECIDED_SLOTS = 8;
/** Where a pass has failed after that, something of the user's did not answer in time, most likely. */
const SLOW_MS = 1000;
/** Much is not ready at the first look and is at the next: only what fails this often in a row is worth a warning. */
const WORTH_A_WARNING = 4;
/** One to apply, one to prove it settled, one more where a step made another one necessary (a view taken off to be mounted anew). */
const MOST_ROUNDS = 3;

/** What the reconciler works with. */
export interface ReconcilerOptions extends ReaderOptions, RuleSources {
  readonly resources: readonly Resource[];
  /** Whether the network namespace of an allocation belongs to its user, as far as was last seen. */
  readonly isNetnsOwned: (id: string) => boolean;
  /** An allocation that had access is over. @param uids of the users that it was prepared for */
  readonly onEnded: (uids: Iterable<number>) => void;
  readonly clock: Clock;
  readonly metrics: Metrics;
}

/**
 * Brings this host to what Nomad says of each allocation. A wake-up carries an id and nothing else; each pass reads
 * what is so, makes it what it should be, and looks again. A vanished allocation desires nothing: cleaning up is no
 * path of its own.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #queue: WorkQueue;
  readonly #records = new Map<string, AllocationRecord>();
  readonly #reader: AllocationReader;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    const { clock, metrics } = options;
    this.#reader = new AllocationReader(options, this.#records);
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
  notice(id: string): void {
    this.#reader.doubt(id);
    this.#queue.add(id);
  }

  /** Something of this allocation has changed on the host; of what Nomad says of it that is no news. */
  noticeHost(id: string): void {
    this.#queue.add(id);
  }

  /** What decides over all allocations has changed; of what Nomad says of them that is no news. */
  noticeRules(): void {
    for (const id of this.#records.keys()) this.#queue.add(id, 'due');
  }

  /** The name service has answered: allocations that wait for what it says of a user have a pass. */
  noticeAnswer(): void {
    for (const { id, outcome } of this.#records.values()) {
      if (outcome?.kind === 'failed' && codeOf(outcome.error) === USER_NOT_LOOKED_UP) this.#queue.add(id);
    }
  }

  /** Nomad listed these allocations: their next pass need not ask for them again. */
  noticeListed(allocations: readonly Allocation[]): void {
    this.#reader.list(allocations);
    for (const { id } of allocations) {
      this.#recordOf(id);
      this.#queue.add(id, 'due');
    }
    const listed = new Set(allocations.map(({ id }) => id));
    for (const id of this.#records.keys()) {
      if (listed.has(id)) continue;
      // What we know and Nomad did not list proves nothing by its absence: each is asked for by its id.
      this.#reader.doubt(id);
      this.#queue.add(id, 'due');
    }
  }

  /** Something of this allocation is on the host: it gets a pass unless one is coming anyway. */
  noticeFound(id: string): void {
    if (this.#records.has(id)) return;
    this.#recordOf(id);
    this.#queue.add(id, 'due');
  }

  /**
   * Resolves with the outcome of a pass that starts after the call, before others in the queue. The host is looked at
   * afresh; Nomad is asked unless the allocation was settled and Nomad has told of no change since.
   */
  passNow(id: string, signal: AbortSignal): Promise<Outcome> {
    if (!this.#options.isUpToDate()) this.#reader.doubt(id);
    return this.#nextOutcome(id, signal, () => this.#queue.add(id, 'awaited'));
  }

  /** The driver has begun to start a task of it: a create is to come, which will not have to wait for what is done by then. */
  noticeStart(id: string): void {
    const record = this.#recordOf(id);
    record.isStarting = true;
    record.starts++;
    this.#reader.doubt(id);
    this.#queue.add(id, 'awaited');
  }

  /**
   * What is decided over an allocation by what Nomad says of it after the driver last began to start a task of it.
   * @throws the signal's reason
   */
  async desired(id: string, signal: AbortSignal): Promise<Desired> {
    const record = this.#recordOf(id);
    if (record.starts === 0) this.noticeStart(id);
    const { starts } = record;
    while (!record.desired || record.decidedStarts < starts) {
      await new Promise<void>((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const onAbort = () => {
          record.deciding.delete(onDecided);
          reject(signal.reason);
        };
        const onDecided = () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        };
        signal.addEventListener('abort', onAbort, { once: true });
        record.deciding.add(onDecided);
      });
    }
    return record.desired;
  }

  /** A container that joins the allocation's netns is held at the gate: it is to be handed to its user from now on. */
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
    return this.#nextOutcome(id, signal, () => undefined);
  }

  /** Resolves when nothing is being done to this allocation, or about to be. */
  whenIdle(id: string): Promise<void> {
    return this.#queue.whenIdle(id);
  }

  /** The volumes of allocations that need access; undefined while one has not been looked at yet. */
  liveVolumes(): readonly LiveVolume[] | undefined {
    const live: LiveVolume[] = [];
    for (const { id, desired } of this.#records.values()) {
      if (!desired) return undefined;
      if (desired.kind === 'access') live.push(...desired.volumes.map((volume) => ({ id, volume })));
    }
    return live;
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
    return await explain(record, allocation, await this.#rulesFor(record, allocation), this.#options);
  }

  /** Resolves when the passes that run have ended; none starts after. */
  stop(): Promise<void> {
    return this.#queue.stop();
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
   * @param goOn asked once it is known whose the allocation is, before anything of hers is looked at
   */
  async #reconcile(record: AllocationRecord, goOn: () => boolean): Promise<Outcome | 'put off'> {
    const { starts } = record;
    const allocation = await this.#reader.read(record);
    record.allocation = allocation;
    const desired = await this.#desire(record, allocation);
    record.desired = desired;
    record.decidedStarts = starts;
    for (const tell of record.deciding) tell();
    record.deciding.clear();
    record.share = shareOf(desired) ?? record.share;
    if (!goOn()) return 'put off';
    let failed: { readonly error: unknown } | undefined;
    for (const resource of this.#options.resources) {
      try {
        await this.#settle(record, resource, desired);
      } catch (error) {
        // Nothing is granted after what failed; taking away goes on, so that one thing does not keep the others there.
        if (desired.kind !== 'nothing') throw error;
        failed ??= { error };
      }
    }
    if (failed) throw failed.error;
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

  async #settle(record: AllocationRecord, resource: Resource, desired: Desired): Promise<void> {
    for (let round = 1; ; round++) {
      const steps = await resource.plan(desired);
      if (steps.length === 0) return;
      if (round > MOST_ROUNDS)
        throw new NotYetError('not_settled', `${steps[0]?.what}: applied, but not in effect; something reverts it`);
      this.#countLate(record, resource, steps);
      await this.#applyAll(record.id, steps, desired);
    }
  }

  /** Nothing is granted after what failed; of what is taken away each thing goes that can. @throws the first of what failed */
  async #applyAll(id: string, steps: readonly Step[], desired: Desired): Promise<void> {
    let failed: { readonly error: unknown } | undefined;
    for (const step of steps) {
      try {
        await this.#apply(id, step);
      } catch (error) {
        if (desired.kind !== 'nothing') throw error;
        failed ??= { error };
      }
    }
    if (failed) throw failed.error;
  }

  #recordOf(id: string): AllocationRecord {
    const record = this.#records.get(id) ?? newRecord(id, this.#options.clock.now());
    this.#records.set(id, record);
    return record;
  }

  async #apply(id: string, step: Step): Promise<void> {
    const { clock, log, metrics } = this.#options;
    const started = clock.monotonic();
    await step.apply();
    const ms = clock.monotonic() - started;
    metrics.stepSeconds.observe({ labels: { kind: step.kind }, value: ms / 1000, exemplarLabels: exemplarOf(id) });
    if (step.removes) metrics.cleanup.inc({ kind: step.kind });
    log.info({ allocation: id, kind: step.kind, removes: step.removes, ms: Math.round(ms) }, step.what);
  }

  /** With a gate in front it cannot happen; with `ordering: watch` it is a race, and the losses are counted. */
  #countLate(record: AllocationRecord, resource: Resource, steps: readonly Step[]): void {
    const { desired, allocation } = record;
    if (record.late || record.outcome?.kind === 'settled' || resource.kind !== 'acl' || desired?.kind !== 'access')
      return;
    if (steps.every((step) => step.removes)) return;
    const ours = new Set(desired.podman.flatMap((user) => user.tasks));
    const running = allocation?.tasks.filter((task) => ours.has(task.name) && task.state === 'running') ?? [];
    if (running.length === 0) return;
    record.late = true;
    this.#options.metrics.latePreparations.inc(running.length);
    const message = 'containers were started before their allocation was ready; put the gate in front of Podman';
    this.#options.log.warn({ allocation: record.id, tasks: running.map((task) => task.name) }, message);
  }

  #conclude(record: AllocationRecord, outcome: Outcome, started: number): void {
    const { clock, log, metrics } = this.#options;
    const result = resultOf(outcome);
    metrics.reconcile.inc({ result });
    const value = (clock.monotonic() - started) / 1000;
    metrics.reconcileSeconds.observe({ labels: { result }, value, exemplarLabels: exemplarOf(record.id) });
    if (!record.outcome || resultOf(record.outcome) !== result) record.since = clock.now();
    record.outcome = outcome;
    if (outcome.kind === 'settled') {
      record.failures = 0;
      record.warned = undefined;
      record.granted = grantedBy(outcome.desired) ?? record.granted;
      this.#reportUnfollowed(record, outcome.desired);
      // Done, for this network namespace: Nomad may make another one, and not be finished with it.
      if (outcome.desired.kind === 'access' && outcome.desired.netns?.isAwaited) {
        record.isNetnsAwaited = false;
        record.isStarting = false;
      }
      // A start that has begun meanwhile is decided by the pass that it has asked for: of this record.
      const isAskedFor = record.waiting.size > 0 || record.decidedStarts < record.starts;
      if (outcome.desired.kind === 'nothing' && !isAskedFor) this.#forget(record, outcome.allocation);
    }
    this.#showAllocations(record);
    if (outcome.kind === 'settled') return;
    record.failures++;
    metrics.errors.inc({ code: codeOf(outcome.error) });
    const fields = { allocation: record.id, code: codeOf(outcome.error), failures: record.failures };
    const lasting = !outcome.retryable || record.failures >= WORTH_A_WARNING;
    const message = messageOf(outcome.error);
    // What stays as it is stands in the status: for ever, where Nomad has forgotten an allocation and not removed its directory.
    const isNews = lasting && message !== record.warned;
    if (isNews) record.warned = message;
    log[isNews ? 'warn' : 'debug'](fields, message);
    if (!outcome.retryable) return;
    const inMs = backoffMs(record.failures, BACKOFF, Math.random());
    const soonMs = record.failures <= MOST_SOON ? retryInMs(outcome.error) : Number.POSITIVE_INFINITY;
    this.#queue.addAfter(record.id, Math.min(inMs, soonMs));
  }

  #reportUnfollowed(record: AllocationRecord, desired: Desired): void {
    const unfollowed = desired.kind === 'access' ? desired.unfollowed : [];
    for (const message of unfollowed.filter((one) => !record.unfollowed.includes(one))) {
      this.#options.metrics.errors.inc({ code: USER_CHANGED });
      this.#options.log.warn({ allocation: record.id, code: USER_CHANGED }, message);
    }
    record.unfollowed = unfollowed;
  }

  #forget({ id, granted }: AllocationRecord, allocation: Allocation | undefined): void {
    this.#records.delete(id);
    this.#reader.forget(id, allocation);
    if (granted) this.#options.onEnded(granted.values());
  }

  #showAllocations(record: AllocationRecord): void {
    const { allocations } = this.#options.metrics;
    for (const labels of record.counted) allocations.dec(labels);
    record.counted = this.#records.has(record.id) ? labelsOf(record) : [];
    for (const labels of record.counted) allocations.inc(labels);
  }

  #nextOutcome(id: string, signal: AbortSignal, wake: () => void): Promise<Outcome> {
    const record = this.#recordOf(id);
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const onAbort = () => {
        record.waiting.delete(onOutcome);
        reject(signal.reason);
      };
      const onOutcome = (outcome: Outcome) => {
        signal.removeEventListener('abort', onAbort);
        resolve(outcome);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      record.waiting.add(onOutcome);
      wake();
    });
  }
}

function leftBehind(error: unknown, id: string): NotYetError {
  const message = `Nomad knows no allocation ${id} any more, and what is left of it cannot be removed: ${messageOf(error)}`;
  return new NotYetError('left_behind', message, error);
}

/** The `result` label of an outcome. */
export function resultOf(outcome: Outcome): PassResult {
  if (outcome.kind === 'failed') return outcome.retryable ? 'retry' : 'failed';
  if (outcome.desired.kind === 'access') return 'settled';
  return outcome.desired.kind === 'refused' ? 'refused' : 'gone';
}
