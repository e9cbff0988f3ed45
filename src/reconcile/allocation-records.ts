import type { Desired } from '../model/desired.ts';
import { needsOf, type UserNeeds } from '../model/user-needs.ts';
import { type AllocationRecord, newRecord, shareOf } from './record.ts';

/** What is known of the allocations that are, or should be, on this host, and whether that is all. */
export class AllocationRecords {
  readonly #now: () => number;
  readonly #records = new Map<string, AllocationRecord>();
  /** What is expected here and was not decided yet. What the gate alone names is not: nobody is to keep things here by asking. */
  readonly #undecided = new Set<string>();
  #isEverythingFound = false;

  /** @param now in ms since the epoch */
  constructor(now: () => number) {
    this.#now = now;
  }

  get(id: string): AllocationRecord | undefined {
    return this.#records.get(id);
  }

  /** The record of an allocation, which is new where nothing is known of it. */
  of(id: string): AllocationRecord {
    const record = this.#records.get(id) ?? newRecord(id, this.#now());
    this.#records.set(id, record);
    return record;
  }

  values(): Iterable<AllocationRecord> {
    return this.#records.values();
  }

  /**
   * Nomad has listed it, or something of it is on this host: until it is known what it should have, others lose nothing.
   * @returns whether something was known of it before
   */
  expect(id: string): boolean {
    const isKnown = this.#records.has(id);
    if (!this.of(id).desired) this.#undecided.add(id);
    return isKnown;
  }

  /** Whatever is on this host is expected now. */
  foundEverything(): void {
    this.#isEverythingFound = true;
  }

  /** What an allocation should have is known. @param starts how many beginnings of its tasks that takes into account */
  decide(record: AllocationRecord, desired: Desired, starts: number): void {
    record.desired = desired;
    record.decidedStarts = starts;
    for (const tell of record.deciding) tell();
    record.deciding.clear();
    record.share = shareOf(desired) ?? record.share;
    this.#undecided.delete(record.id);
  }

  forget(id: string): void {
    this.#records.delete(id);
    this.#undecided.delete(id);
  }

  /** Whether it is known of everything that Nomad has listed, and that is on this host, what it should have. */
  get isComplete(): boolean {
    return this.#isEverythingFound && this.#undecided.size === 0;
  }

  /** What is known that a user needs. @param also of an allocation, in place of what its last pass went by */
  needsOf(uid: number, also?: Desired): UserNeeds {
    const known = [...this.#records.values()].flatMap(({ id, desired }) => (desired && id !== also?.id ? desired : []));
    return needsOf(uid, also ? [...known, also] : known, this.isComplete);
  }
}
