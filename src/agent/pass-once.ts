import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { codeOf } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { AllocationState } from '../model/status.ts';
import { Nomad } from '../nomad/nomad.ts';
import { Accounts } from '../reconcile/accounts.ts';
import { type AllocationRecord, lastErrorOf, stateOf } from '../reconcile/record.ts';
import { makeHost } from './host.ts';
import { lookAround } from './node-checks.ts';
import { NodeFollower } from './node-follower.ts';
import { nomadConnection } from './nomad-connection.ts';

/** What one pass over this node has come to. */
export interface OncePass {
  /** How many allocations have, or are refused, something. */
  readonly allocations: number;
  /** Those that are not as they should be, and what keeps them. */
  readonly left: readonly AllocationLeft[];
  /** Those that get nothing until their job, the policy or the host is changed. */
  readonly refused: readonly AllocationLeft[];
  /** Why what is known of Nomad may be stale, in words: then there may be more to do. */
  readonly reasons: readonly string[];
}

/** An allocation with which something is left to do. */
export interface AllocationLeft {
  readonly id: string;
  /** Undefined where Nomad does not know the allocation any more. */
  readonly jobId: string | undefined;
  readonly state: AllocationState;
  readonly why: string | undefined;
  /** What is still to be done, in words. */
  readonly steps: readonly string[];
}

/** What a pass works with. */
interface OncePassParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Nomad that is about to start, or a user whose Podman hangs in each of a few allocations. */
const MOST_MS = 60_000;

/**
 * Makes each allocation of this node once what it should be, as the agent does, and takes away what is left over; then says what
 * did not come about. No gate is opened, closed or asked anything: creates that systemd's descriptors hold go on waiting.
 * The caller has the lock of the state dir.
 * @throws NotYetError `nomad_not_attached` where Nomad has not said within a minute what is on this node
 */
export async function passOnce({ config, clock, log, metrics }: OncePassParts): Promise<OncePass> {
  const nomad = new Nomad(nomadConnection(config.nomad));
  const accounts = new Accounts({ clock, log });
  const accountOf = (name: string) => accounts.known(name);
  const node = new NodeFollower({
    ...{ config, nomad, accounts, clock, log, metrics },
    lookAround,
    makeHost: (options) => makeHost({ config, accountOf, clock, ...options }),
  });
  const late = new AbortController();
  const stopTimer = clock.after(MOST_MS, () => late.abort());
  let following: Promise<void> | undefined;
  try {
    // A pass that does not know whose an allocation is comes to nothing.
    for (const name of config.users.keys()) accounts.watch(name, () => undefined);
    await Promise.all([...config.users.keys()].map((name) => accounts.whenLookedUp(name)));
    following = node.follow();
    await node.whenPassedOver(late.signal).catch((error: unknown) => {
      // Some passes last too long: what they have not come to is told of below.
      if (!late.signal.aborted || node.health.lastListing === undefined) throw error;
      log.warn({ code: codeOf(error) }, `not every allocation has had its pass within ${MOST_MS / 1000} s`);
    });
    return await resultOf(node);
  } finally {
    stopTimer();
    node.stop();
    await following;
    accounts.close();
    await nomad.close();
  }
}

async function resultOf(node: NodeFollower): Promise<OncePass> {
  const records = node.records();
  const of = async (states: readonly AllocationState[]) =>
    Promise.all(records.filter((record) => states.includes(stateOf(record))).map((record) => leftOf(record, node)));
  return {
    allocations: records.length,
    left: await of(['preparing', 'waiting', 'failing', 'removing']),
    refused: await of(['refused']),
    reasons: node.reasons(),
  };
}

async function leftOf(record: Readonly<AllocationRecord>, node: NodeFollower): Promise<AllocationLeft> {
  const { id, allocation } = record;
  const explanation = allocation && (await node.explain(id));
  const parts = explanation?.parts.filter(({ state }) => state !== 'done') ?? [];
  const steps = parts.flatMap(({ what }) => what);
  return { id, jobId: allocation?.jobId, state: stateOf(record), why: lastErrorOf(record)?.message, steps };
}
