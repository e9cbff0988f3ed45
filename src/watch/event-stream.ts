import type { Clock } from '../clock.ts';
import { codeOf, messageOf, NotYetError, ParseError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { type EventLine, readEventLine } from '../nomad/event-line.ts';
import type { Nomad } from '../nomad/nomad.ts';
import { READ_JOB } from '../nomad/nomad-failure.ts';
import type { Line } from '../nomad/split-lines.ts';
import { retry } from '../retry.ts';
import { WarnedOnce } from '../warned-once.ts';
import { watchSilence } from './silence.ts';
import type { StreamNamespaces } from './stream-namespaces.ts';

/** What the watch of the event stream needs, and what it tells. */
interface EventStreamOptions {
  readonly nomad: Pick<Nomad, 'eventStart' | 'eventLines'>;
  readonly nodeId: string;
  /** Those that the stream is to tell of. What is there when it begins is added. */
  readonly namespaces: StreamNamespaces;
  /** How long a stream is followed before it is opened afresh, in milliseconds. */
  readonly lifeMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** An allocation of this node changed. Called again for what a reconnect replays. */
  readonly onAllocation: (allocationId: string) => void;
  /** From now on the stream tells of changes; `onGap` follows. */
  readonly onConnected: () => void;
  /** The stream tells of nothing now. `problem` is why, in words; undefined where it is only opened afresh. */
  readonly onDisconnected: (problem: string | undefined) => void;
  /** Changes may have been missed: list everything. */
  readonly onGap: () => void;
}

const PATIENCE = {
  /** Nomad sends a heartbeat at once, to whom it sends anything at all. */
  firstMs: 30_000,
  /** And then one every 30 s (NewJsonStream in its nomad/event_endpoint.go); three of them missing is no delay. */
  thenMs: 90_000,
};
/** A stream that stood this long was a good one: the next failure is a first one. */
const STEADY_MS = 60_000;
/** Garbage is counted always and logged this seldom. */
const GARBAGE_LOG_MS = 60_000;
const NO_LINE = `Nomad is out of reach, the token is not valid, or its policy lacks: ${READ_JOB}`;

/**
 * Watches Nomad's event stream and tells which allocations of this node changed; resolves when the signal is aborted. Whatever
 * fails is logged, counted, and tried again.
 *
 * The first time, the stream starts at the index of the node's allocations, asked for just before: an index of 0 would
 * replay the server's whole buffer. After that it goes on from the last line seen; that line comes again, which costs a
 * pass over its allocations, where one index further could lose what a batch still had. Nomad skips events that have
 * left its buffer without a word, hence `onGap` each time. From servers that were restored from a snapshot come lower
 * indexes: they are followed, and are a gap too.
 *
 * A stream can be deaf and go on with its heartbeats: to namespaces made after it was opened, or at a server that has
 * lost the others. So none is followed for longer than `lifeMs`.
 */
export async function watchEventStream(options: EventStreamOptions, signal: AbortSignal): Promise<void> {
  const stream = new EventStream(options);
  const { clock, log, metrics, onDisconnected } = options;
  const warned = new WarnedOnce(clock);
  const onFailure = (error: unknown, failures: number, inMs: number) => {
    onDisconnected(messageOf(error));
    if (failures === 1) warned.over('stream');
    metrics.errors.inc({ code: codeOf(error) });
    const level = warned.levelOf('stream', messageOf(error));
    log[level]({ code: codeOf(error), failures, inMs }, `event stream: ${messageOf(error)}; trying again`);
  };
  const follow = async () => {
    if (wasOpened) metrics.streamReconnects.inc();
    wasOpened = true;
    await stream.follow(signal);
  };
  let wasOpened = false;
  while (!signal.aborted) await retry(follow, { clock, signal, onFailure, steadyMs: STEADY_MS });
}

class EventStream {
  readonly #options: EventStreamOptions;
  #index: number | undefined;
  #garbageLoggedAt = Number.NEGATIVE_INFINITY;
  #garbageUnlogged = 0;

  constructor(options: EventStreamOptions) {
    this.#options = options;
  }

  /** Opens the stream and follows it until it is to be opened afresh. Throws when it fails: that Nomad hangs up is a failure too. */
  async follow(signal: AbortSignal): Promise<void> {
    const { namespaces, clock, metrics, onDisconnected } = this.#options;
    const index = this.#index ?? (await this.#start(signal));
    const renewal = new AbortController();
    namespaces.onNew(() => renewal.abort());
    const silence = new AbortController();
    let stopAging: (() => void) | undefined;
    const hearing = watchSilence(clock, PATIENCE, () => silence.abort(silent(stopAging !== undefined)));
    try {
      const ends = AbortSignal.any([signal, silence.signal, renewal.signal]);
      for await (const line of this.#options.nomad.eventLines({ index }, ends)) {
        hearing.heard();
        metrics.streamLastEvent.set(clock.now() / 1000);
        if (!stopAging) {
          // Only a line proves that we may read: Nomad answers 200 to who may not, and stays silent.
          stopAging = clock.after(this.#options.lifeMs, () => renewal.abort());
          this.#stand();
        }
        this.#take(line);
      }
      if (stopAging) throw new NotYetError('stream_closed', 'Nomad closed it');
      throw new NotYetError('stream_silent', `Nomad closed it without one line: ${NO_LINE}`);
    } catch (error) {
      if (!renewal.signal.aborted || signal.aborted) throw error;
      onDisconnected(undefined);
    } finally {
      hearing.stop();
      stopAging?.();
      metrics.streamConnected.set(0);
    }
  }

  async #start(signal: AbortSignal): Promise<number> {
    const { nomad, nodeId } = this.#options;
    const { index, namespaces } = await nomad.eventStart(nodeId, signal);
    for (const namespace of namespaces) this.#options.namespaces.cover(namespace);
    this.#index = index;
    return index;
  }

  #stand(): void {
    const { metrics, onConnected, onGap } = this.#options;
    metrics.streamConnected.set(1);
    onConnected();
    onGap();
  }

  #take(line: Line): void {
    const { onAllocation, onGap } = this.#options;
    const event = this.#read(line);
    if (!event) return;
    const { index = this.#index, allocationIds, problems } = event;
    const wentBack = index !== undefined && this.#index !== undefined && index < this.#index;
    this.#index = index;
    for (const id of allocationIds) onAllocation(id);
    for (const problem of problems) this.#reportGarbage(problem);
    if (wentBack || problems.length > 0) onGap();
  }

  #read(line: Line): EventLine | undefined {
    try {
      return readEventLine(line, this.#options.nodeId);
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      this.#reportGarbage(error);
      return undefined;
    }
  }

  #reportGarbage(error: ParseError): void {
    const { clock, log, metrics } = this.#options;
    metrics.errors.inc({ code: 'event_garbage' });
    this.#garbageUnlogged += 1;
    if (clock.monotonic() - this.#garbageLoggedAt < GARBAGE_LOG_MS) return;
    log.warn({ code: 'event_garbage', lines: this.#garbageUnlogged }, `${messageOf(error)}; skipped`);
    this.#garbageLoggedAt = clock.monotonic();
    this.#garbageUnlogged = 0;
  }
}

function silent(spoke: boolean): NotYetError {
  const message = spoke
    ? `no heartbeat for ${PATIENCE.thenMs / 1000} s`
    : `not one line in ${PATIENCE.firstMs / 1000} s: ${NO_LINE}`;
  return new NotYetError('stream_silent', message);
}
