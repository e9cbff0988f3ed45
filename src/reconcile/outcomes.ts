import { backoffMs } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import { retryInMs } from '../errors.ts';
import type { Allocation } from '../model/allocation.ts';
import { type Desired, grantedBy } from '../model/desired.ts';
import type { AllocationRecords } from './allocation-records.ts';
import type { AllocationReader } from './reader.ts';
import { type AllocationRecord, type Outcome, resultOf } from './record.ts';
import type { PassReports } from './report.ts';

const BACKOFF = { firstMs: 100, mostMs: 30_000 };
/** How often in a row an error may say that it wants to be tried again soon: a user can make some errors last. */
const MOST_SOON = 50;

/** What outcomes are told to. */
interface OutcomesOptions {
  readonly records: AllocationRecords;
  readonly reader: Pick<AllocationReader, 'forget'>;
  readonly reports: Pick<PassReports, 'pass' | 'count'>;
  readonly clock: Pick<Clock, 'now'>;
}

/** Records and reports how passes end, forgets what is over, and says when what failed is tried again. */
export class Outcomes {
  readonly #options: OutcomesOptions;
  readonly #onEnded: ((uids: Iterable<number>) => void)[] = [];

  constructor(options: OutcomesOptions) {
    this.#options = options;
  }

  /** Calls when an allocation that had access is over, with the uids of the users that it was prepared for. */
  onEnded(listener: (uids: Iterable<number>) => void): void {
    this.#onEnded.push(listener);
  }

  /** A pass has ended, after so many milliseconds. @returns in how many another one is due; undefined where none is */
  conclude(record: AllocationRecord, outcome: Outcome, ms: number): number | undefined {
    const { records, reports, clock } = this.#options;
    if (!record.outcome || resultOf(record.outcome) !== resultOf(outcome)) record.since = clock.now();
    record.outcome = outcome;
    if (outcome.kind === 'settled') this.#settled(record, outcome.desired, outcome.allocation);
    else record.failures++;
    reports.pass(record, outcome, ms);
    reports.count(record, records.get(record.id) === record);
    if (outcome.kind === 'settled' || !outcome.retryable) return undefined;
    const inMs = backoffMs(record.failures, BACKOFF, Math.random());
    const soonMs = record.failures <= MOST_SOON ? retryInMs(outcome.error) : Number.POSITIVE_INFINITY;
    return Math.min(inMs, soonMs);
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
    const { records, reader } = this.#options;
    records.forget(id);
    reader.forget(id, allocation);
    if (granted) for (const tell of this.#onEnded) tell(granted.values());
  }
}
