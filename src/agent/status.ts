import { codeOf } from '../errors.ts';
import type { AllocationStatus } from '../model/status.ts';
import { type AllocationRecord, lastErrorOf, stateOf } from '../reconcile/record.ts';

/**
 * What people are told of an allocation; undefined for one that is none of ours.
 * @param isNetnsOwned whether the network namespace of an allocation belongs to its user
 */
export function statusOf(
  record: Readonly<AllocationRecord>,
  isNetnsOwned: (id: string) => boolean,
): AllocationStatus | undefined {
  const { id, allocation, desired, since, late, found } = record;
  if (!allocation || (desired?.kind === 'nothing' && desired.why === 'unmanaged')) return undefined;
  const granted = desired?.kind === 'access';
  return {
    id,
    namespace: allocation.namespace,
    jobId: allocation.jobId,
    taskGroup: allocation.taskGroup,
    users: granted ? desired.podman.map((user) => user.name) : [],
    view: found.has('view') ? 'mounted' : granted ? 'missing' : 'none',
    netns: granted && desired.netns ? (isNetnsOwned(id) ? 'owned' : 'missing') : 'none',
    acl: found.has('acl') ? 'set' : granted ? 'missing' : 'none',
    state: stateOf(record),
    since,
    lastError: lastErrorOf(record),
    late,
  };
}

/** How many allocations of this node Nomad has refused to show. */
export function hiddenAmong(records: readonly Readonly<AllocationRecord>[]): number {
  return records.filter(({ readError }) => codeOf(readError) === 'nomad_denied').length;
}
