import { NotYetError } from '../errors.ts';
import type { Explanation } from '../model/explanation.ts';
import type { GhostStatus } from '../model/status.ts';

/**
 * Adds what an allocation has left behind to what is said of it.
 * @throws NotYetError `left_behind` where Nomad knows it no more, and something of it is still here
 */
export function withGhosts(
  id: string,
  explanation: Explanation | undefined,
  ghosts: readonly GhostStatus[],
): Explanation | undefined {
  const what = ghosts.filter(({ allocationId }) => allocationId === id).map(inWords);
  if (what.length === 0) return explanation;
  if (explanation) return { ...explanation, parts: [...explanation.parts, { kind: 'ghost', state: 'left', what }] };
  throw new NotYetError(
    'left_behind',
    `Nomad knows no allocation ${id} any more; it has left behind ${what.join(', ')}`,
  );
}

function inWords({ kind, name, user, state, removedAt, lastError }: GhostStatus): string {
  const end = removedAt === undefined ? 'which stays (remove_ghosts_after: off)' : 'which is removed after a while';
  const error = lastError ? ` (${lastError.message})` : '';
  return `${kind} ${name} of ${user} (${state}), ${end}${error}`;
}
