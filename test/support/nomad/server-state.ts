import { EventEmitter } from 'node:events';
import type { RecordedAllocation } from './recorded.ts';
import { type Snapshot, StateStore } from './state-store.ts';

/** How many events Nomad keeps for those who resume (`event_buffer_size` in the recorded agent). */
const BUFFER_SIZE = 100;

/** One line of the event stream. */
export interface StreamedEvents {
  readonly Events: readonly StreamedEvent[];
  readonly Index: number;
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

/** What Nomad's servers know, as their API has it. Emits `change` with each new index. */
export class ServerState extends EventEmitter<{ change: [StreamedEvents | undefined] }> {
  readonly #store = new StateStore<RecordedAllocation, StreamedEvents>({
    describe: ({ ID, Namespace, NodeID }) => ({ id: ID, namespace: Namespace, nodeId: NodeID }),
    bufferSize: BUFFER_SIZE,
  });

  /** The index of the last write. */
  get index(): number {
    return this.#store.index;
  }

  allocation(id: string): RecordedAllocation | undefined {
    return this.#store.allocations.get(id);
  }

  /** Every allocation of a node, terminal ones included. */
  allocationsOf(nodeId: string): RecordedAllocation[] {
    return this.#store.allocationsOf(nodeId);
  }

  namespaces(): ReadonlySet<string> {
    return this.#store.namespaces();
  }

  snapshot(): Snapshot<RecordedAllocation> {
    return this.#store.snapshot();
  }

  restore(snapshot: Snapshot<RecordedAllocation>): void {
    this.#store.restore(snapshot);
  }

  eventsFrom(index: number): readonly StreamedEvents[] {
    return this.#store.eventsFrom(index);
  }

  /** Writes an allocation, with the indexes and the event that Nomad gives it for that type of change. */
  write(allocation: RecordedAllocation, type: StreamedEvent['Type']): void {
    const known = this.allocation(allocation.ID);
    const streamed = this.#store.write((index) => {
      const written: RecordedAllocation = {
        ...structuredClone(allocation),
        CreateIndex: known?.CreateIndex ?? index,
        ModifyIndex: index,
        AllocModifyIndex: type === 'AllocationUpdated' ? (known?.AllocModifyIndex ?? index) : index,
        ModifyTime: Date.now() * 1e6,
      };
      return { allocation: written, event: { Events: [eventOf(written, type, index)], Index: index } };
    });
    this.emit('change', streamed);
  }

  /** The index of a write that is none of this node's. */
  skipIndex(): number {
    return this.#store.nextIndex();
  }

  forget(id: string): void {
    if (this.#store.forget(id)) this.emit('change', undefined);
  }
}

function eventOf(allocation: RecordedAllocation, type: StreamedEvent['Type'], index: number): StreamedEvent {
  const { Job: _, ...withoutJob } = allocation;
  const { ID, Namespace, JobID, DeploymentID } = allocation;
  return {
    Topic: 'Allocation',
    Type: type,
    Key: ID,
    Namespace,
    FilterKeys: [JobID, DeploymentID],
    Index: index,
    Payload: { Allocation: withoutJob },
  };
}
