import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';

const RECORDED = new URL('../fixtures/nomad-2.0.5/event-stream.ndjson', import.meta.url);
/** Enough of them that no two lines in a row are alike. */
const DISTINCT = 2000;
const CLUSTER_NODES = 10_000;

/** What the event stream of a big cluster says of its other nodes: the recorded events, with ids of their own. */
export class ForeignEvents {
  readonly #events: readonly string[];
  readonly #nextIndex: () => number;
  #next = 0;

  /** @param nextIndex gives the index of the next line */
  constructor(nextIndex: () => number) {
    this.#nextIndex = nextIndex;
    const recorded = recordedEvents();
    const nodes = Array.from({ length: CLUSTER_NODES - 1 }, () => randomUUID());
    this.#events = Array.from({ length: DISTINCT }, (_, number) => {
      const { text, allocationId, nodeId } = at(recorded, number);
      return text.replaceAll(allocationId, randomUUID()).replaceAll(nodeId, at(nodes, number));
    });
  }

  /** The mean size of an event in bytes. */
  get meanBytes(): number {
    return this.#events.reduce((sum, event) => sum + event.length, 0) / this.#events.length;
  }

  /** The next line: so many events of one index. */
  line(events: number): Buffer {
    const batch = Array.from({ length: events }, () => at(this.#events, this.#next++));
    return Buffer.from(`{"Events":[${batch.join(',')}],"Index":${this.#nextIndex()}}\n`);
  }
}

function recordedEvents(): { text: string; allocationId: string; nodeId: string }[] {
  const lines = readFileSync(RECORDED, 'utf8').trimEnd().split('\n');
  const events = lines.flatMap((line): Recorded[] => JSON.parse(line).Events ?? []);
  return events
    .filter(({ Topic, Type }) => Topic === 'Allocation' && Type === 'AllocationUpdated')
    .map((event) => {
      const { ID: allocationId, NodeID: nodeId } = event.Payload.Allocation;
      return { text: JSON.stringify(event), allocationId, nodeId };
    });
}

interface Recorded {
  readonly Topic: string;
  readonly Type: string;
  readonly Payload: { readonly Allocation: { readonly ID: string; readonly NodeID: string } };
}

function at<T>(list: readonly T[], number: number): T {
  const found = list[number % list.length];
  if (found === undefined) throw new Error('an empty list');
  return found;
}
