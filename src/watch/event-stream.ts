import { backoffMs, NOMAD_BACKOFF } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import { codeOf, messageOf, NotYetError, RootlessError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { type EventLine, readEventLine } from '../nomad/event-line.ts';
import type { Nomad } from '../nomad/nomad.ts';

/** What the watch of the event stream needs, and what it tells. */
export interface EventStreamOptions {
  readonly nomad: Pick<Nomad, 'eventIndex' | 'eventLines'>;
  readonly nodeId: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** An allocation of this node changed. Called again for what a reconnect replays. */
  readonly onAllocation: (allocationId: string) => void;
  /** Whether the stream stands: told when it begins to and when it ends. */
  readonly onStanding: (standing: boolean) => void;
  /** The stream was (re)opened, so that changes may have been missed: list everything. */
  readonly onGap: () => void;
}

/** Nomad sends a heartbeat at once, to whom it sends anything at all. */
const FIRST_LINE_MS = 30_000;
/** And then one every 30 s (NewJsonStream in its nomad/event_endpoint.go); three of them missing is no delay. */
const SILENCE_MS = 90_000;
/** A stream that stood this long was a good one: the next failure is a first one. */
const STEADY_MS = 60_000;
/** Garbage is counted always and logged this seldom. */
const GARBAGE_LOG_MS = 60_000;

/**
 * Watches Nomad's event stream and tells which allocations of this node changed, until the signal is aborted; then it
 * resolves. Never rejects: whatever fails is logged, counted, and tried again.
 *
 * The first time, the stream starts at the index of the node's allocations, asked for just before: an index of 0 would
 * replay the server's whole buffer. After that it goes on from the last line seen; that line comes again, which costs a
 * pass over its allocations, where one index further could lose what a batch still had. Nomad skips events that have
 * left its buffer without a word, hence `onGap` each time.
 */
export async function watchEventStream(options: EventStreamOptions, signal: AbortSignal): Promise<void> {
  const { clock, log, metrics } = options;
  const watch = new EventStreamWatch(options);
  let failures = 0;
  while (!signal.aborted) {
    const openedAt = clock.monotonic();
    try {
      await watch.follow(signal);
    } catch (error) {
      if (signal.aborted) break;
      failures = clock.monotonic() - openedAt >= STEADY_MS ? 1 : failures + 1;
      const inMs = Math.round(backoffMs(failures, NOMAD_BACKOFF, Math.random()));
      metrics.errors.inc({ code: codeOf(error) });
      log.warn({ code: codeOf(error), failures, inMs }, `event stream: ${messageOf(error)}; trying again`);
      if (!(await slept(clock, inMs, signal))) break;
      metrics.streamReconnects.inc();
    }
  }
}

class EventStreamWatch {
  readonly #options: EventStreamOptions;
  #index: number | undefined;
  #garbageLoggedAt = Number.NEGATIVE_INFINITY;
  #garbageUnlogged = 0;

  constructor(options: EventStreamOptions) {
    this.#options = options;
  }

  /** Opens the stream and follows it until it fails, which it always does: that Nomad hangs up is a failure too. */
  async follow(signal: AbortSignal): Promise<never> {
    const { nomad, nodeId, clock, metrics, onGap, onStanding } = this.#options;
    this.#index ??= await nomad.eventIndex(nodeId, signal);
    const silence = new AbortController();
    let standing = false;
    const listen = () => clock.after(standing ? SILENCE_MS : FIRST_LINE_MS, () => silence.abort(silent(standing)));
    let unlisten = listen();
    try {
      for await (const line of nomad.eventLines({ index: this.#index }, AbortSignal.any([signal, silence.signal]))) {
        metrics.streamLastEvent.set(clock.now() / 1000);
        if (!standing) {
          // Only a line proves that we may read: Nomad answers 200 to who may not, and stays silent.
          standing = true;
          metrics.streamConnected.set(1);
          onStanding(true);
          onGap();
        }
        unlisten();
        unlisten = listen();
        this.#take(line);
      }
      throw new NotYetError('stream_closed', 'Nomad closed it');
    } catch (error) {
      // The same line would come again from the same index: start behind it. The listing after the gap has what it said.
      if (codeOf(error) === 'stream_line_too_long') this.#index = undefined;
      throw error;
    } finally {
      unlisten();
      metrics.streamConnected.set(0);
      if (standing) onStanding(false);
    }
  }

  #take(line: string): void {
    const event = this.#read(line);
    this.#index = event?.index ?? this.#index;
    for (const id of event?.allocationIds ?? []) this.#options.onAllocation(id);
  }

  #read(line: string): EventLine | undefined {
    try {
      return readEventLine(line, this.#options.nodeId);
    } catch (error) {
      if (!(error instanceof RootlessError)) throw error;
      this.#reportGarbage(error);
      return undefined;
    }
  }

  #reportGarbage(error: RootlessError): void {
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
    ? `no heartbeat for ${SILENCE_MS / 1000} s`
    : `not one line in ${FIRST_LINE_MS / 1000} s: Nomad is out of reach, or the token's policy lacks: namespace "*" { capabilities = ["read-job"] }`;
  return new NotYetError('stream_silent', message);
}

async function slept(clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await clock.sleep(ms, signal);
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}
