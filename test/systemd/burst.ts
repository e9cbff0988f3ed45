import { onTestFinished } from 'vitest';
import { jobOf, shell } from '../e2e/cases.ts';
import type { MachineAllocation, MachineNomad } from '../support/systemd/machine-nomad.ts';

const STAYS = 'echo up >/alloc/data/x; exec sleep 1000';

/** Runs a job of a user's that stays; it goes with the test. */
export async function runJob(nomad: MachineNomad, id: string, user: string): Promise<MachineAllocation> {
  const allocation = await nomad.runJob(jobOf(user, id, shell('t', user, STAYS)));
  onTestFinished(() => allocation.gc());
  return allocation;
}

/** Starts so many of them at once, alice's and bob's, under names of their own. */
export function startBurst(nomad: MachineNomad, name: string, count: number): Promise<readonly MachineAllocation[]> {
  const start = (_: unknown, index: number) => runJob(nomad, `${name}-${index}`, index % 2 ? 'bob' : 'alice');
  return Promise.all(Array.from({ length: count }, start));
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
