import type { Clock } from '../clock.ts';
import { READ_JOB } from '../nomad/nomad-failure.ts';

/** What we know of Nomad by: what it says of itself, its event stream, the listing of the node's allocations. */
const SOURCES = ['agent', 'stream', 'listing'] as const;
type Source = (typeof SOURCES)[number];

/** Whether what is known of Nomad is up to date, and why not: for readiness, for the status, and for who may go without asking. */
export class NomadHealth {
  readonly #clock: Clock;
  readonly #problems = new Map<Source, string>([['agent', 'Nomad has not been asked yet']]);
  #connectedSince: number | undefined;
  #listing: { readonly askedAt: number; readonly at: number } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Nomad has said who it is; its allocations and events are to come. */
  attached(): void {
    this.well('agent');
    this.failed('stream', 'the event stream is not connected yet');
    this.failed('listing', "this node's allocations have not been listed yet");
  }

  failed(source: Source, problem: string): void {
    this.#problems.set(source, problem);
  }

  well(source: Source): void {
    this.#problems.delete(source);
  }

  streamConnected(): void {
    this.well('stream');
    this.#connectedSince = this.#clock.monotonic();
  }

  /** @param problem undefined where the stream is only opened afresh */
  streamDisconnected(problem: string | undefined): void {
    if (problem !== undefined) this.failed('stream', problem);
    this.#connectedSince = undefined;
  }

  /** @param askedAt when Nomad was asked for what it now has listed; monotonic, in milliseconds */
  listed(askedAt: number): void {
    this.well('listing');
    this.#listing = { askedAt, at: this.#clock.now() };
  }

  /** Whether the event stream is connected, or is only opened afresh. */
  get isConnected(): boolean {
    return !this.#problems.has('agent') && !this.#problems.has('stream');
  }

  /** When the node's allocations were last listed, in milliseconds since the epoch. */
  get lastListing(): number | undefined {
    return this.#listing?.at;
  }

  /** Whether Nomad would have told of a change of any allocation by now: what happened before the stream was connected is listed. */
  isUpToDate(): boolean {
    return (
      this.#connectedSince !== undefined && this.#listing !== undefined && this.#listing.askedAt > this.#connectedSince
    );
  }

  /** Why the agent is not ready, in words. @param hidden how many allocations of this node Nomad has refused to show */
  reasons(hidden: number): string[] {
    const what = hidden === 1 ? 'one allocation' : `${hidden} allocations`;
    const refusal = `Nomad does not show ${what} of this node: the token is not valid, or its policy lacks: ${READ_JOB}`;
    return [...SOURCES.flatMap((source) => this.#problems.get(source) ?? []), ...(hidden === 0 ? [] : [refusal])];
  }
}
