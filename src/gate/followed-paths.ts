import { NotYetError } from '../errors.ts';
import { openAbsoluteIfThere, openCached, staysBeneath } from '../linux/handle.ts';
import { O, SyscallError } from '../linux/libc.ts';
import { canonicalAsUser } from '../linux/read-as-user.ts';
import type { PodmanUser } from '../podman/connect.ts';
import type { CreateTarget, HostDirectories } from './create-body.ts';
import { guardedBy } from './guarded-paths.ts';
import type { HostPath } from './host-paths.ts';

/** A path that a create names and that leads to what no container is to get at. */
export interface GuardedPath {
  /** The field, such as `mounts.0.source`. */
  readonly where: string;
  /** As the create has it. */
  readonly path: string;
  /** Where it leads, in words. */
  readonly leadsTo: string;
}

/**
 * The first of these paths, outside of what is Nomad's, that leads to what is guarded: as it is written, or by a symlink.
 *
 * A guard against accidents, and against the author of a job who left a link in a volume: Podman follows the path anew when it
 * starts the container, in the user's mount namespace. Whoever changes files or mounts of hers in between, she or another job
 * that runs as her, is not stopped.
 * @throws as canonicalAsUser
 */
export async function guardedAmong(
  paths: readonly HostPath[],
  user: PodmanUser,
  { guarded }: HostDirectories,
): Promise<GuardedPath | undefined> {
  const asked = paths.flatMap(({ where, path }) =>
    // Where her Podman's service runs is for her to say: with systemd it is her home.
    (path.startsWith('/') ? [path] : [`/${path}`, `${user.home}/${path}`]).map((absolute) => ({
      where,
      path,
      absolute,
    })),
  );
  const written = asked.map((one) => ({ ...one, canonical: one.absolute }));
  const found = firstGuarded(written, guarded);
  if (found) return found;
  const unsure = asked.filter(({ absolute }) => !isFreeOfLinks(absolute));
  if (unsure.length === 0) return undefined;
  const canonical = await canonicalAsUser(
    user,
    unsure.map(({ absolute }) => absolute),
  );
  return firstGuarded(
    unsure.map((one, index) => ({ ...one, canonical: canonical[index] ?? '/' })),
    guarded,
  );
}

function firstGuarded(
  paths: readonly { readonly where: string; readonly path: string; readonly canonical: string }[],
  guarded: readonly string[],
): GuardedPath | undefined {
  for (const { where, path, canonical } of paths) {
    const leadsTo = guardedBy(canonical, guarded);
    if (leadsTo !== undefined) return { where, path, leadsTo };
  }
  return undefined;
}

/**
 * The first mount of something in the allocation's directory that a symlink leads out of it: an artifact or a container of the
 * allocation has made it, and Podman would follow it as the user. As guardedByLink it guards against accidents.
 * @throws NotYetError `path_changing`
 */
export function leadingOut(
  { allocationId, mounts }: CreateTarget,
  { canonicalAllocDir }: HostDirectories,
): string | undefined {
  using directory = openAbsoluteIfThere(`${canonicalAllocDir}/${allocationId}`);
  if (!directory) return undefined;
  return mounts.find((path) => path !== '' && !staysBeneath(directory, path));
}

/** From the dentry cache alone: what would have to be waited for is not for us to look up. */
function isFreeOfLinks(path: string): boolean {
  try {
    using found = openCached(path, O.PATH);
    return found !== undefined;
  } catch (error) {
    if (error instanceof NotYetError || (error instanceof SyscallError && error.is('ENAMETOOLONG'))) return false;
    throw error;
  }
}
