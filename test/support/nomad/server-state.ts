import { EventEmitter } from 'node:events';
import type { RecordedAllocation } from './recorded.ts';

/** How many events Nomad keeps for those who resume (`event_buffer_size` in the recorded agent). */
const BUFFER_SIZE = 100;

/** One line of the event stream. */
export interface StreamedEvents {
  readonly Events: readonly StreamedEvent[];
  readonly Index: number;
}

/** A state of the servers to go back to. */
export interface Snapshot {
  readonly index: number;
  readonly allocations: ReadonlyMap<string, RecordedAllocation>;
}

interface StreamedEvent {
  readonly Topic: 'Allocation';
  readonly Type: 'PlanResult' | 'AllocationUpdated' | 'AllocationUpdateDesiredStatus';
  readonly Key: string;
  readonly Namespace: string;
  readonly FilterKeys: readonly string[];
  readonly Index: number;
  readonly Payload: { readonly Allocation: object };
}

/** What Nomad's servers know: allocations, the index, and the last events. Emits `change` with each new index. */
export class ServerState extends EventEmitter<{ change: [StreamedEvents | undefined] }> {
  readonly #allocations = new Map<string, RecordedAllocation>();
  #events: StreamedEvents[] = [];
  #index = 10;

  /** The index of the last write. */
  get index(): number {
    return this.#index;
  }

  allocation(id: string): RecordedAllocation | undefined {
    return this.#allocations.get(id);
  }

  /** Every allocation of a node, terminal ones included. */
  allocationsOf(nodeId: string): RecordedAllocation[] {
    return [...this.#allocations.values()].filter(({ NodeID }) => NodeID === nodeId);
  }

  /** The namespaces that there are: one is made with the first allocation in it. */
  namespaces(): ReadonlySet<string> {
    return new Set(['default', ...[...this.#allocations.values()].map(({ Namespace }) => Namespace)]);
  }

  snapshot(): Snapshot {
    return { index: this.#index, allocations: new Map(this.#allocations) };
  }

  /** Goes back to a snapshot, as `nomad operator snapshot restore` does: the events since are gone too. */
  restore({ index, allocations }: Snapshot): void {
    this.#allocations.clear();
    for (const [id, allocation] of allocations) this.#allocations.set(id, allocation);
    this.#index = index;
    this.#events = [];
  }

  /** Events that the buffer still has, from an index on: one that has left it skips ahead without an error. */
  eventsFrom(index: number): readonly StreamedEvents[] {
    return this.#events.filter(({ Index }) => Index >= index);
  }

  /** Writes an allocation, with the indexes and the event that Nomad gives it for that type of change. */
  write(allocation: RecordedAllocation, type: StreamedEvent['Type']): void {
    const index = this.#next();
    const known = this.#allocations.get(allocation.ID);
    const written: RecordedAllocation = {
      ...structuredClone(allocation),
      CreateIndex: known?.CreateIndex ?? index,
      ModifyIndex: index,
      AllocModifyIndex: type === 'AllocationUpdated' ? (known?.AllocModifyIndex ?? index) : index,
      ModifyTime: Date.now() * 1e6,
    };
    this.#allocations.set(written.ID, written);
    const { ID, Namespace, JobID, DeploymentID } = written;
    const { Job: _, ...withoutJob } = written;
    const event: StreamedEvent = {
      Topic: 'Allocation',
      Type: type,
      Key: ID,
      Namespace,
      FilterKeys: [JobID, DeploymentID],
      Index: index,
      Payload: { Allocation: withoutJob },
    };
    const streamed = { Events: [event], Index: index };
    this.#events = [...this.#events, streamed].slice(-BUFFER_SIZE);
    this.emit('change', streamed);
  }

  /** The index of a write that is none of this node's. */
  skipIndex(): number {
    return this.#next();
  }

  /** Forgets an allocation, as a garbage collection of the servers does: without an event. */
  forget(id: string): void {
    if (!this.#allocations.delete(id)) return;
    this.#next();
    this.emit('change', undefined);
  }

  #next(): number {
    this.#index += 1;
    return this.#index;
  }
}
