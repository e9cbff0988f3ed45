import { codeOf, isRetryable, messageOf, NotYetError } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Allocation, isFinished } from '../model/allocation.ts';
import type { AllocationRecords } from './allocation-records.ts';
import type { AllocationRecord } from './record.ts';

/** What the reader works with. */
export interface ReaderOptions {
  /** Asks Nomad: undefined means that Nomad says there is none. */
  readonly readAllocation: (id: string) => Promise<Allocation | undefined>;
  /** Whether Nomad would have told of a change of any allocation by now: its event stream stands, and all was listed since. */
  readonly isUpToDate: () => boolean;
  /** Whether the allocation has its directory on this host: Nomad's client removes it with the last of its tasks. */
  readonly hasDirectory: (id: string) => boolean;
  readonly log: Log;
}

/**
 * Says what Nomad says of an allocation, and asks it only where what is known may be old. A listing is taken for as new
 * as it says it is: it may have been on its way while more became known.
 */
export class AllocationReader {
  readonly #options: ReaderOptions;
  readonly #records: Pick<AllocationRecords, 'get'>;
  readonly #listed = new Map<string, Allocation>();
  /** Allocations of which there is or may be news that was not read yet. */
  readonly #stale = new Set<string>();
  /** How new what was known was of allocations that were forgotten since the last listing came: their modify index. */
  readonly #forgotten = new Map<string, number>();

  /** @param records what is known of each allocation */
  constructor(options: ReaderOptions, records: Pick<AllocationRecords, 'get'>) {
    this.#options = options;
    this.#records = records;
  }

  /** What is known of this allocation may be old. */
  markStale(id: string): void {
    this.#stale.add(id);
  }

  /** Nomad listed these allocations. */
  list(allocations: readonly Allocation[]): void {
    for (const allocation of allocations) {
      this.#listed.set(allocation.id, allocation);
      if (this.#isStale(allocation)) this.markStale(allocation.id);
    }
    this.#forgotten.clear();
  }

  /** The record of this allocation goes. @param allocation what Nomad last said of it; undefined: that there is none */
  forget(id: string, allocation: Allocation | undefined): void {
    this.#forgotten.set(id, allocation?.modifyIndex ?? Number.POSITIVE_INFINITY);
  }

  /**
   * What Nomad says of an allocation now or, where it does not answer, what it last said; undefined where it says that
   * there is none. The record gets what was listed, and why Nomad did not answer.
   * @throws NotYetError where nothing is known and Nomad does not answer, and `allocation_forgotten`
   */
  async read(record: AllocationRecord): Promise<Allocation | undefined> {
    const { id, outcome } = record;
    const { isUpToDate, hasDirectory, readAllocation, log } = this.#options;
    const listing = this.#takeListed(record);
    const hasNews = this.#stale.delete(id) || listing === 'stale';
    const known = record.allocation;
    const isFresh = listing === 'taken' || (outcome?.kind === 'settled' && isUpToDate());
    if (known && isFresh && !hasNews) return known;
    let allocation: Allocation | undefined;
    try {
      allocation = await readAllocation(id);
      record.readError = undefined;
    } catch (error) {
      record.readError = error;
      this.markStale(id);
      // Nomad is away, or talks garbage: what it last said of this allocation holds, so that its tasks can be restarted.
      if (!known) throw asNotYet(error);
      log.debug({ allocation: id, code: codeOf(error) }, `using what Nomad last said: ${messageOf(error)}`);
      return known;
    }
    // Servers that were restored from a snapshot do not know what was placed since, while its tasks go on for minutes.
    // What was refused has nothing that they could need.
    const mayRun = known && !isFinished(known) && record.desired?.kind !== 'refused';
    if (!allocation && mayRun && hasDirectory(id)) throw stillThere(id);
    return allocation;
  }

  #takeListed(record: AllocationRecord): 'taken' | 'stale' | 'none' {
    const listed = this.#listed.get(record.id);
    if (!listed) return 'none';
    this.#listed.delete(record.id);
    if (this.#isStale(listed)) return 'stale';
    record.allocation = listed;
    record.readError = undefined;
    return 'taken';
  }

  /** Whether more is known; that may be because Nomad has gone back to an older state. Only asking tells which. */
  #isStale({ id, modifyIndex }: Allocation): boolean {
    const known = this.#records.get(id)?.allocation?.modifyIndex ?? this.#forgotten.get(id) ?? 0;
    return known > modifyIndex;
  }
}

function asNotYet(error: unknown): unknown {
  if (isRetryable(error)) return error;
  return new NotYetError('nomad_garbage', 'Nomad gave an answer that cannot be read', error);
}

function stillThere(id: string): NotYetError {
  const message = `Nomad does not know allocation ${id} any more, and has not stopped it: its mounts, ACLs and network stay until its directory is removed`;
  return new NotYetError('allocation_forgotten', message);
}
