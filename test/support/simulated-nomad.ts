import { NotYetError } from '../../src/errors.ts';
import { type Allocation, isFinished } from '../../src/model/allocation.ts';
import type { DriverSocket } from '../../src/model/driver-sockets.ts';
import type { AgentSelf } from '../../src/nomad/agent-self.ts';
import type { AllocationListing, EventStart } from '../../src/nomad/nomad.ts';
import type { Line } from '../../src/nomad/split-lines.ts';
import { StateStore } from './nomad/state-store.ts';
import { NODE_ID } from './nomad-fixture.ts';

/** How many events the servers keep for who comes back. */
const BUFFER = 4;

/** What the servers do instead of answering rightly. */
export interface Faults {
  readonly read: 'none' | 'error' | 'denied';
  readonly listing: 'none' | 'error' | 'empty' | 'short';
  readonly stream: 'none' | 'refused' | 'silent' | 'lossy' | 'doubled' | 'garbage';
}

const NO_FAULTS: Faults = { read: 'none', listing: 'none', stream: 'none' };

interface Event {
  readonly index: number;
  readonly id: string;
  readonly namespace: string;
  readonly nodeId: string;
}

interface Stream {
  readonly namespaces: ReadonlySet<string>;
  readonly lines: Line[];
  ended: boolean;
  wake: () => void;
}

/**
 * Nomad's servers and this node's client, without a network. Each answer is worked out when it is asked for and comes
 * when the test delivers it, in any order. The client makes and removes the directories.
 */
export class SimulatedNomad {
  faults: Faults = NO_FAULTS;
  nodeId = NODE_ID;
  /** What Nomad answers to who asks who it is. */
  selfError: Error | undefined;
  /** The sockets that its podman driver is configured with: the gates of alice and bob. */
  podmanSockets: readonly DriverSocket[] = ['alice', 'bob'].map((name) => ({
    name,
    path: `/run/nomad-rootless/gate/${name}.sock`,
  }));
  /** How long its podman driver waits for an answer. */
  httpTimeoutMs = 60_000;
  /** Whether answers wait for the test to deliver them. */
  holdsAnswers = false;
  readonly directories = new Set<string>();
  /** Told of directories that appear and vanish. */
  onDirectory: (id: string) => void = () => undefined;
  /** Allocations that at some time had finished or had no directory: only what these have may be taken away. */
  readonly ended = new Set<string>();
  /** Ids that were purged: Nomad gives no allocation the id of another one. */
  readonly purged = new Set<string>();
  readonly #streams = new Set<Stream>();
  readonly #undelivered: (() => void)[] = [];
  readonly #store = new StateStore<Allocation, Event>({ describe: (allocation) => allocation, bufferSize: BUFFER });
  #snapshot = this.#store.snapshot();

  get allocations(): ReadonlyMap<string, Allocation> {
    return this.#store.allocations;
  }

  /** Writes an allocation as the servers do: with the next index, and an event. */
  write(allocation: Allocation): void {
    const { id, namespace, nodeId } = allocation;
    const event = this.#store.write((index) => ({
      allocation: { ...allocation, modifyIndex: index },
      event: { index, id, namespace, nodeId },
    }));
    if (isFinished(allocation)) this.ended.add(id);
    else this.#makeDirectory(id);
    for (const stream of this.#streams) this.#send(stream, event);
  }

  finish(id: string): void {
    const running = this.allocations.get(id);
    if (running) this.write({ ...running, clientStatus: 'complete', tasks: [] });
  }

  /** Forgets an allocation, without an event; the client removes its directory. */
  purge(id: string): void {
    if (!this.#store.forget(id)) return;
    this.purged.add(id);
    this.removeDirectory(id);
  }

  removeDirectory(id: string): void {
    this.directories.delete(id);
    this.ended.add(id);
    this.onDirectory(id);
  }

  takeSnapshot(): void {
    this.#snapshot = this.#store.snapshot();
  }

  /** The servers go back to the last snapshot. Streams go silent; what runs on the client goes on. */
  restoreSnapshot(): void {
    this.#store.restore(this.#snapshot);
    this.#streams.clear();
  }

  /** The connection of every stream breaks. */
  breakStreams(): void {
    for (const stream of this.#streams) {
      stream.ended = true;
      stream.wake();
    }
    this.#streams.clear();
  }

  /** Delivers one of the answers that are held. */
  deliver(number: number): void {
    if (this.#undelivered.length > 0) this.#undelivered.splice(number % this.#undelivered.length, 1)[0]?.();
  }

  deliverAll(): void {
    for (const answer of this.#undelivered.splice(0)) answer();
  }

  /** Everything is well again: the client has removed what the servers do not know. */
  heal(): void {
    this.faults = NO_FAULTS;
    this.holdsAnswers = false;
    this.deliverAll();
    for (const id of [...this.directories]) if (!this.allocations.has(id)) this.removeDirectory(id);
  }

  async self(): Promise<AgentSelf> {
    const [dataDir, allocDir, stateDir] = ['/nowhere/nomad', '/nowhere/nomad/alloc', '/nowhere/nomad/client'];
    const volumes = { hostVolumesDir: '/nowhere/nomad/host_volumes', csiDir: '/nowhere/nomad/client/csi' };
    const rest = {
      version: '2.0.5',
      podmanSockets: this.podmanSockets,
      keepsContainers: false,
      httpTimeoutMs: this.httpTimeoutMs,
      takesVolumes: true,
      cniPath: [],
      disagreements: [],
    };
    if (this.selfError) throw this.selfError;
    return { nodeId: this.nodeId, dataDir, allocDir, stateDir, ...volumes, ...rest };
  }

  allocation(id: string, signal: AbortSignal): Promise<Allocation | undefined> {
    const { read } = this.faults;
    const allocation = this.allocations.get(id);
    // Who may not read is told of no allocation; one that is not there is not there for anybody.
    if (read === 'denied' && allocation)
      return this.#fail(signal, new NotYetError('nomad_denied', 'Unknown allocation'));
    if (read === 'error') return this.#fail(signal, new NotYetError('nomad_error', '500'));
    return this.#answer(signal, allocation);
  }

  async hostVolumes(): Promise<ReadonlyMap<string, string>> {
    return new Map();
  }

  nodeAllocations(nodeId: string, signal: AbortSignal): Promise<AllocationListing> {
    const { listing } = this.faults;
    if (listing === 'error') return this.#fail(signal, new NotYetError('nomad_error', 'No cluster leader'));
    const all = this.#store.allocationsOf(nodeId);
    const allocations = listing === 'empty' ? [] : listing === 'short' ? all.filter((_, at) => at % 2 === 0) : all;
    return this.#answer(signal, { allocations, malformed: [] });
  }

  eventStart(_nodeId: string, signal: AbortSignal): Promise<EventStart> {
    if (this.faults.listing === 'error') return this.#fail(signal, new NotYetError('nomad_error', 'No cluster leader'));
    return this.#answer(signal, { index: this.#store.index, namespaces: this.#store.namespaces() });
  }

  async *eventLines({ index }: { readonly index: number }, signal: AbortSignal): AsyncGenerator<Line, void> {
    if (this.faults.stream === 'refused') throw new NotYetError('nomad_error', '500');
    const stream: Stream = { namespaces: this.#store.namespaces(), lines: [], ended: false, wake: () => undefined };
    if (this.faults.stream !== 'silent') {
      this.#streams.add(stream);
      stream.lines.push(lineOf('{}'));
      for (const event of this.#store.eventsFrom(index)) this.#send(stream, event);
    }
    try {
      while (!stream.ended) {
        signal.throwIfAborted();
        const line = stream.lines.shift();
        if (line) yield line;
        else await this.#untilWoken(stream, signal);
      }
    } finally {
      this.#streams.delete(stream);
    }
  }

  /** Sends a line that is too long to be taken: what it said has to be listed. */
  sendCutLine(): void {
    for (const stream of this.#streams) {
      stream.lines.push({ bytes: Buffer.from('}}]'), cut: true });
      stream.wake();
    }
  }

  /** Sends the heartbeat that Nomad sends every 30 s. */
  heartbeat(): void {
    for (const stream of this.#streams) this.#push(stream, '{}');
  }

  #makeDirectory(id: string): void {
    if (this.directories.has(id)) return;
    this.directories.add(id);
    this.onDirectory(id);
  }

  #send(stream: Stream, { index, id, namespace, nodeId }: Event): void {
    const { stream: fault } = this.faults;
    if (fault === 'lossy' || fault === 'silent' || !stream.namespaces.has(namespace)) return;
    const event = { Topic: 'Allocation', Payload: { Allocation: { ID: id, NodeID: nodeId } } };
    const text = JSON.stringify({ Events: [event], Index: index });
    if (fault === 'garbage') this.#push(stream, text.slice(0, -7));
    else this.#push(stream, text);
    if (fault === 'doubled') this.#push(stream, text.replace(/\d+\}$/, `${index - 2}}`));
  }

  #push(stream: Stream, text: string): void {
    stream.lines.push(lineOf(text));
    stream.wake();
  }

  #untilWoken(stream: Stream, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      stream.wake = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
    });
  }

  #answer<T>(signal: AbortSignal, answer: T): Promise<T> {
    return this.#delivered(signal).then(() => answer);
  }

  async #fail(signal: AbortSignal, error: NotYetError): Promise<never> {
    await this.#delivered(signal);
    throw error;
  }

  #delivered(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      if (this.holdsAnswers) this.#undelivered.push(resolve);
      else resolve();
    });
  }
}

function lineOf(text: string): Line {
  return { bytes: Buffer.from(text), cut: false };
}
