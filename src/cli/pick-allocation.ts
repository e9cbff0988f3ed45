import type { AllocationStatus } from '../model/status.ts';
import { printable } from '../printable.ts';
import { CommandError } from './command-error.ts';
import { EXIT } from './exit-code.ts';

/**
 * The only allocation whose id begins so.
 * @throws CommandError `no_such_allocation` (exit code 4)
 */
export function pickAllocation(allocations: readonly AllocationStatus[], prefix: string): AllocationStatus {
  const found = allocations.filter(({ id }) => id.startsWith(prefix.toLowerCase()));
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const message =
    only === undefined
      ? `the agent knows no allocation ${printable(prefix)} on this node; only those with a podman user are listed (for others, give \`explain\` the whole id)`
      : `${found.length} allocations begin with ${prefix}: ${found.map(({ id }) => id).join(', ')}; give more of the id`;
  throw new CommandError(EXIT.noSuchAllocation, 'no_such_allocation', message);
}
