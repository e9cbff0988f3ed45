import { unlinkSync } from 'node:fs';
import { mustRun } from '../command.ts';

/** Where Nomad's client keeps an allocation's network namespace (client/lib/nsutil); /var/run is a link to /run. */
export function netnsPath(allocationId: string): string {
  return `/var/run/netns/${allocationId}`;
}

/**
 * Makes it. What `ip netns add` leaves is what Nomad leaves: the directory a shared mount of itself, and in it a file with
 * the namespace mounted on it. @returns its path
 */
export async function createNetns(allocationId: string): Promise<string> {
  await mustRun(['ip', 'netns', 'add', allocationId]);
  return netnsPath(allocationId);
}

/**
 * Takes it away: one lazy unmount, then the file is removed.
 * @throws Error, as Nomad fails, where nothing is mounted on the file or something still is after that
 */
export async function destroyNetns(allocationId: string): Promise<void> {
  const path = netnsPath(allocationId);
  await mustRun(['umount', '--lazy', path]);
  unlinkSync(path);
}
