import type { Clock } from '../clock.ts';
import { codeOf, messageOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { exemplarOf, type Metrics } from '../metrics.ts';
import type { Desired } from '../model/desired.ts';
import type { Resource, Step } from '../resources/resource.ts';
import { type AllocationRecord, labelsOf, type Outcome, resultOf, USER_CHANGED } from './record.ts';

/** Much is not ready at the first look and is at the next: only what fails this often in a row is worth a warning. */
const WORTH_A_WARNING = 4;

/** Tells of passes in the log, and counts them. */
export class PassReports {
  readonly #parts: { readonly clock: Clock; readonly log: Log; readonly metrics: Metrics };

  constructor(parts: { readonly clock: Clock; readonly log: Log; readonly metrics: Metrics }) {
    this.#parts = parts;
  }

  /** Applies a step. @param whom it is applied for @throws what it throws, of which nothing is told */
  async apply(step: Step, whom: { readonly allocation: string } | { readonly user: number }): Promise<void> {
    const { clock, log, metrics } = this.#parts;
    const started = clock.monotonic();
    await step.apply();
    const ms = clock.monotonic() - started;
    const exemplarLabels = exemplarOf('allocation' in whom ? whom.allocation : undefined);
    metrics.stepSeconds.observe({ labels: { kind: step.kind }, value: ms / 1000, exemplarLabels });
    if (step.removes) metrics.cleanup.inc({ kind: step.kind });
    log.info({ ...whom, kind: step.kind, removes: step.removes, ms: Math.round(ms) }, step.what);
  }

  /** Something that nobody needs cannot be taken off the host. */
  left(error: unknown): void {
    const { log, metrics } = this.#parts;
    metrics.errors.inc({ code: codeOf(error) });
    log.warn({ code: codeOf(error) }, `cannot look for leftovers on the host: ${messageOf(error)}`);
  }

  /**
   * Steps are missing. With a gate in front no container can run before; with `ordering: watch` it is a race, and the losses are
   * counted.
   */
  late(record: AllocationRecord, resource: Resource, steps: readonly Step[]): void {
    const { desired, allocation } = record;
    if (record.late || record.outcome?.kind === 'settled' || resource.kind !== 'acl' || desired?.kind !== 'access')
      return;
    if (steps.every((step) => step.removes)) return;
    const ours = new Set(desired.podman.flatMap((user) => user.tasks));
    const running = allocation?.tasks.filter((task) => ours.has(task.name) && task.state === 'running') ?? [];
    if (running.length === 0) return;
    record.late = true;
    this.#parts.metrics.latePreparations.inc(running.length);
    const message = 'containers were started before their allocation was ready; put the gate in front of Podman';
    this.#parts.log.warn({ allocation: record.id, tasks: running.map((task) => task.name) }, message);
  }

  /** A pass has ended after so many milliseconds. */
  pass(record: AllocationRecord, outcome: Outcome, ms: number): void {
    const { log, metrics } = this.#parts;
    const result = resultOf(outcome);
    metrics.reconcile.inc({ result });
    metrics.reconcileSeconds.observe({ labels: { result }, value: ms / 1000, exemplarLabels: exemplarOf(record.id) });
    if (outcome.kind === 'settled') {
      record.warned = undefined;
      this.#reportNotApplied(record, outcome.desired);
      return;
    }
    metrics.errors.inc({ code: codeOf(outcome.error) });
    const fields = { allocation: record.id, code: codeOf(outcome.error), failures: record.failures };
    const lasting = !outcome.retryable || record.failures >= WORTH_A_WARNING;
    const message = messageOf(outcome.error);
    // What stays as it is stands in the status: for ever, where Nomad has forgotten an allocation and not removed its directory.
    const isNews = lasting && message !== record.warned;
    if (isNews) record.warned = message;
    log[isNews ? 'warn' : 'debug'](fields, message);
  }

  /** Counts an allocation by user and state. @param isKnown false where it is not to count any more */
  count(record: AllocationRecord, isKnown: boolean): void {
    const { allocations } = this.#parts.metrics;
    for (const labels of record.counted) allocations.dec(labels);
    record.counted = isKnown ? labelsOf(record) : [];
    for (const labels of record.counted) allocations.inc(labels);
  }

  #reportNotApplied(record: AllocationRecord, desired: Desired): void {
    const notApplied = desired.kind === 'access' ? desired.notApplied : [];
    for (const message of notApplied.filter((one) => !record.notApplied.includes(one))) {
      this.#parts.metrics.errors.inc({ code: USER_CHANGED });
      this.#parts.log.warn({ allocation: record.id, code: USER_CHANGED }, message);
    }
    record.notApplied = notApplied;
  }
}
