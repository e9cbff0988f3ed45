/** What Nomad's servers know of every allocation, in whatever form a double of Nomad has it. */
export interface Stored {
  readonly id: string;
  readonly namespace: string;
  readonly nodeId: string;
}

/** A state of the servers to go back to. */
export interface Snapshot<Allocation> {
  readonly index: number;
  readonly allocations: ReadonlyMap<string, Allocation>;
}

/** How a double of Nomad has allocations and events. */
export interface StateStoreOptions<Allocation> {
  readonly describe: (allocation: Allocation) => Stored;
  /** How many events are kept for those who resume (`event_buffer_size`). */
  readonly bufferSize: number;
}

/**
 * Nomad's servers as far as every double of them needs it: allocations, the index of the last write (nomad/state/state_store.go),
 * and the last events (nomad/stream/event_buffer.go). The format of both is the double's own.
 */
export class StateStore<Allocation, Event> {
  readonly #options: StateStoreOptions<Allocation>;
  readonly #allocations = new Map<string, Allocation>();
  #events: { readonly index: number; readonly event: Event }[] = [];
  #index = 10;

  constructor(options: StateStoreOptions<Allocation>) {
    this.#options = options;
  }

  /** The index of the last write. */
  get index(): number {
    return this.#index;
  }

  /** By their ids, terminal ones included. */
  get allocations(): ReadonlyMap<string, Allocation> {
    return this.#allocations;
  }

  /** Every allocation of a node, terminal ones included. */
  allocationsOf(nodeId: string): Allocation[] {
    return [...this.#allocations.values()].filter((one) => this.#options.describe(one).nodeId === nodeId);
  }

  /** The namespaces that there are: one is made with the first allocation in it. */
  namespaces(): ReadonlySet<string> {
    return new Set(['default', ...[...this.#allocations.values()].map((one) => this.#options.describe(one).namespace)]);
  }

  /** Writes an allocation, with the next index and an event. @param change makes both of the index. @returns the event */
  write(change: (index: number) => { readonly allocation: Allocation; readonly event: Event }): Event {
    const index = this.nextIndex();
    const { allocation, event } = change(index);
    this.#allocations.set(this.#options.describe(allocation).id, allocation);
    this.#events = [...this.#events, { index, event }].slice(-this.#options.bufferSize);
    return event;
  }

  /** Forgets an allocation, as a garbage collection of the servers does: without an event. @returns whether it was there */
  forget(id: string): boolean {
    if (!this.#allocations.delete(id)) return false;
    this.nextIndex();
    return true;
  }

  snapshot(): Snapshot<Allocation> {
    return { index: this.#index, allocations: new Map(this.#allocations) };
  }

  /** Goes back to a snapshot, as `nomad operator snapshot restore` does: the events since are gone too. */
  restore({ index, allocations }: Snapshot<Allocation>): void {
    this.#allocations.clear();
    for (const [id, allocation] of allocations) this.#allocations.set(id, allocation);
    this.#index = index;
    this.#events = [];
  }

  /** Events that the buffer still has, from an index on: one that has left it skips ahead without an error. */
  eventsFrom(index: number): readonly Event[] {
    return this.#events.filter((one) => one.index >= index).map(({ event }) => event);
  }

  /** Counts a write of which nothing is kept here. @returns its index */
  nextIndex(): number {
    this.#index += 1;
    return this.#index;
  }
}
