import { setTimeout as pause } from 'node:timers/promises';
import type { Bench } from './bench.ts';
import { createUnacceptable } from './creates.ts';
import { holdCreates } from './held-creates.ts';
import { PreparedAllocation } from './prepared-allocation.ts';
import { type Summary, summarize } from './samples.ts';
import { TimedApi } from './timed-api.ts';

/** What one user's creates take while another one does her worst to the reconciler. */
export interface SlowNeighbourResults {
  /** The user's creates, each of a new allocation, while the other does nothing. */
  readonly quiet: Summary;
  /** The same while eighty creates of the other's are held, and each look at her Podman comes to no end. */
  readonly slow: Summary;
}

const CREATES = 40;
/** The first look has been given up, and is tried again, by then. */
const BEGINS_MS = 5000;

/** Measures a user's creates beside a user all of whose looks are slow. */
export async function measureSlowNeighbour(
  { sandbox, nomad, gateSocket }: Bench,
  { user, slow }: { readonly user: string; readonly slow: string },
): Promise<SlowNeighbourResults> {
  await using stack = new AsyncDisposableStack();
  using api = new TimedApi(gateSocket(user), false);
  const turn = async () => {
    const durations: number[] = [];
    for (let done = 0; done < CREATES; done++) {
      const allocation = new PreparedAllocation(nomad, user);
      await allocation.build();
      stack.defer(() => allocation.destroy());
      stack.defer(() => allocation.end());
      allocation.announce();
      durations.push(await createUnacceptable(api, allocation));
    }
    return summarize(durations);
  };
  await turn();
  const quiet = await turn();
  await using _held = await holdCreates({ nomad, user: sandbox.user(slow), gate: gateSocket(slow) });
  await pause(BEGINS_MS);
  return { quiet, slow: await turn() };
}
