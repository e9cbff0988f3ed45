import { setTimeout } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import { jobOf, shell } from '../e2e/cases.ts';
import type { MachineAllocation, MachineNomad } from '../support/systemd/machine-nomad.ts';

/** Some of a burst fall into the gap between one agent and the next, which takes a second or two. */
const BURST_INTERVAL_MS = 150;
const STAYS = 'echo up >/alloc/data/x; exec sleep 1000';

/** What a GateProbe sees where nothing is amiss. */
export const ALL_ANSWERED = { answered: expect.toSatisfy((count) => count > 0), refused: {}, cut: {} };

/** Runs a job of a user's that stays; it goes with the test. */
export async function runJob(nomad: MachineNomad, id: string, user: string): Promise<MachineAllocation> {
  const allocation = await startJob(nomad, id, user);
  onTestFinished(() => allocation.gc());
  return allocation;
}

/** Starts so many of them, one shortly after the other, alice's and bob's by turns; they go with the test. */
export async function startBurst(nomad: MachineNomad, name: string, count: number): Promise<MachineAllocation[]> {
  const burst = await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      await setTimeout(index * BURST_INTERVAL_MS);
      return startJob(nomad, `${name}-${index}`, index % 2 ? 'bob' : 'alice');
    }),
  );
  onTestFinished(async () => void (await Promise.all(burst.map((allocation) => allocation.gc()))));
  return burst;
}

/** Starts a job of a user's that stays, also after the test. */
export function startJob(nomad: MachineNomad, id: string, user: string): Promise<MachineAllocation> {
  return nomad.runJob(jobOf(user, id, shell('t', user, STAYS)));
}

/** Waits until each of them runs or has failed. @returns what the authors of those that have failed are told */
export async function failuresOf(allocations: readonly MachineAllocation[]): Promise<readonly string[]> {
  const failures = await Promise.all(
    allocations.map(async (allocation) => {
      const failed = await allocation.waitFor('running').then(
        () => false,
        () => true,
      );
      if (!failed) return [];
      const told = (await allocation.events('t')).filter(({ Type }) => Type === 'Driver Failure');
      return [told.map(({ DriverError }) => DriverError).join('; ') || 'not running, and no Driver Failure'];
    }),
  );
  return failures.flat();
}

/** Whether a task's container has been the same one since its start. */
export async function hasStayed(allocation: MachineAllocation): Promise<boolean> {
  await allocation.waitFor('running');
  const types = (await allocation.events('t')).map(({ Type }) => Type);
  return !types.some((type) => ['Terminated', 'Restarting', 'Not Restarting', 'Driver Failure'].includes(type));
}
