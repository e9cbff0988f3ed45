import type { Desired } from './desired.ts';
import type { LiveVolume } from './volume.ts';

/** What is known that the allocations of a user need together on this host. */
export interface UserNeeds {
  readonly uid: number;
  /** Whether it is known of every allocation on this host what it should have. While it is not, nothing is taken away. */
  readonly isComplete: boolean;
  /** The ids of those that have access. */
  readonly allocations: ReadonlySet<string>;
  /** The volumes that they claim. */
  readonly volumes: readonly LiveVolume[];
}

/** What is known that a user needs. @param desired of all allocations of which it is known */
export function needsOf(uid: number, desired: Iterable<Desired>, isComplete: boolean): UserNeeds {
  const allocations = new Set<string>();
  const volumes: LiveVolume[] = [];
  for (const one of desired) {
    if (one.kind !== 'access' || !one.podman.some((user) => user.uid === uid)) continue;
    const { id } = one;
    allocations.add(id);
    for (const volume of one.volumes) if (volume.uid === uid) volumes.push({ id, volume });
  }
  return { uid, isComplete, allocations, volumes };
}
