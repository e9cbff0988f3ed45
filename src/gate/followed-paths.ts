import PQueue from 'p-queue';
import { letOthersRun } from '../clock.ts';
import { failedWith, NotYetError, RefusedError } from '../errors.ts';
import { type Handle, openAbsoluteIfThere, openCached, staysBeneath } from '../linux/handle.ts';
import { O } from '../linux/libc.ts';
import { canonicalAsUser } from '../linux/read-as-user.ts';
import type { PodmanUser } from '../podman/connect.ts';
import type { CreateBody } from './create-body.ts';
import { type CreateTarget, type HostDirectories, pathsElsewhere } from './create-target.ts';
import { guardedBy } from './guarded-paths.ts';
import type { HostPath } from './host-paths.ts';

/** A path that a create names and that leads to what no container is to get at. */
interface GuardedPath {
  /** The field, such as `mounts.0.source`. */
  readonly where: string;
  /** As the create has it. */
  readonly path: string;
  /** Where it leads, in words. */
  readonly leadsTo: string;
}

/**
 * Stops a task that would get at what is not its own, or at what it mounts read-only, by way of the user's view,
 * which shows what all of the user's tasks have.
 * @throws RefusedError `host_path_refused`, `link_out_of_allocation`; as guardedAmong, leadingOut
 */
export async function refuseGuarded(
  spec: CreateBody,
  target: CreateTarget,
  user: PodmanUser,
  directories: HostDirectories,
): Promise<void> {
  const remedy = `name what the task needs in there, or ask the operator for host_paths: all in the policy of nomad-rootless's config`;
  const out = await leadingOut(target, user, directories);
  if (out !== undefined) {
    const message = `task ${target.task} mounts ${JSON.stringify(out)} of its allocation, which leads out of the allocation's directory by a symlink; ${remedy}`;
    throw new RefusedError('link_out_of_allocation', message);
  }
  const found = await guardedAmong(pathsElsewhere(spec, directories), user, directories);
  if (!found) return;
  const { where, path, leadsTo } = found;
  const message = `${where} ${JSON.stringify(path)} leads to ${leadsTo}, which containers may not name: through such paths they would reach all allocations of user ${user.name}; ${remedy}`;
  throw new RefusedError('host_path_refused', message);
}

/**
 * The first of these paths, outside of what is Nomad's, that leads to what is guarded: as it is written, or by a symlink.
 *
 * A guard against accidents, and against the author of a job who left a link in a volume: Podman follows the path anew when it
 * starts the container, in the user's mount namespace. Whoever changes files or mounts of the user's in between, she or another job
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
  const unsure: typeof asked = [];
  for (const one of asked) if (!(await inTurn(user, () => isFreeOfLinks(one.absolute)))) unsure.push(one);
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
 * allocation has made it, and Podman would follow it as the user. As guardedAmong it guards against accidents.
 * @throws NotYetError `path_changing`
 */
async function leadingOut(
  { allocationId, mounts }: CreateTarget,
  user: PodmanUser,
  { canonicalAllocDir }: HostDirectories,
): Promise<string | undefined> {
  using directory = openAbsoluteIfThere(`${canonicalAllocDir}/${allocationId}`);
  if (!directory) return undefined;
  for (const path of mounts) if (path !== '' && !(await stays(directory, path, user))) return path;
  return undefined;
}

/** @throws NotYetError `path_changing` */
async function stays(directory: Handle, path: string, user: PodmanUser): Promise<boolean> {
  for (let tries = 1; tries <= MOST_TRIES; tries++) {
    const answer = await inTurn(user, () => staysBeneath(directory, path));
    if (answer !== undefined) return answer;
  }
  throw new NotYetError('path_changing', `${directory.path}/${path} is being changed`);
}

/** Each name that is changed on the host, whoever does it, can make a look fail. */
const MOST_TRIES = 20;

const turns = new Map<number, PQueue>();

/**
 * One look of a user's at a time, and between two of them whatever else waits for the main thread. Links that lead to links, or paths
 * of thousands of directories, have the kernel walk for milliseconds; a create can name 256 of them, and a user can have many creates.
 */
function inTurn<T>({ uid }: PodmanUser, look: () => T): Promise<T> {
  const queue = turns.get(uid) ?? new PQueue({ concurrency: 1 });
  turns.set(uid, queue);
  return queue.add(async () => {
    await letOthersRun();
    return look();
  });
}

/** From the dentry cache alone: what would have to be waited for is not for us to look up. */
function isFreeOfLinks(path: string): boolean {
  try {
    using found = openCached(path, O.PATH);
    return found !== undefined;
  } catch (error) {
    if (error instanceof NotYetError || failedWith(error, 'ENAMETOOLONG')) return false;
    throw error;
  }
}
