import { failedWith } from '../errors.ts';
import { type Handle, openCached, openKernelPath } from '../linux/handle.ts';
import { O } from '../linux/libc.ts';
import { inMountNamespace } from '../linux/mount-namespace.ts';
import {
  openOwnNamespace,
  ownerUid,
  owningUserNamespace,
  ProcessHandle,
  parentUserNamespace,
  uidsOf,
} from '../linux/process.ts';
import { isSameFile, type Stat, stat } from '../linux/stat.ts';

/** A mount namespace in which a user's Podman works, and the user namespace that it belongs to, held open. */
export interface PodmanNamespace {
  readonly pid: number;
  readonly mount: Handle;
  readonly user: Handle;
  /** How its ids are those of the host: the contents of uid_map and gid_map, user_namespaces(7). */
  readonly idMap: string;
}

/** One that was found, with the process that it was found by. */
export interface FoundNamespace extends Omit<PodmanNamespace, 'idMap'> {
  readonly process: ProcessHandle;
  /** Of the mount namespace. */
  readonly status: Stat;
}

const NONE: ReadonlySet<bigint> = new Set();

/**
 * Takes a process for a Podman of the user's if, while its pidfd says that it lives, all its uids are the user's, its user
 * namespace was made by the user straight below ours, its mount namespace belongs to that user namespace, and has our root
 * directory.
 * @param passOver inodes of mount namespaces that are not looked at again
 * @returns undefined where it is none, or has ended; the caller's to close
 * @throws SyscallError, NotYetError
 */
export function identify(pid: number, uid: number, passOver: ReadonlySet<bigint> = NONE): FoundNamespace | undefined {
  const process = ProcessHandle.open(pid);
  if (!process) return undefined;
  let found: Omit<FoundNamespace, 'pid' | 'process'> | undefined;
  try {
    found = podmanNamespaces(process, uid, passOver);
    if (found && process.isAlive()) return { pid, process, ...found };
  } catch (error) {
    if (!isGone(error)) {
      process.close();
      throw error;
    }
  }
  found?.mount.close();
  found?.user.close();
  process.close();
  return undefined;
}

function podmanNamespaces(
  process: ProcessHandle,
  uid: number,
  passOver: ReadonlySet<bigint>,
): Omit<FoundNamespace, 'pid' | 'process'> | undefined {
  using closing = new DisposableStack();
  const mount = closing.use(process.openNamespace('mnt'));
  const status = stat(mount);
  if (passOver.has(status.ino) || !uidsOf(process.pid).every((one) => one === uid)) return undefined;
  const user = closing.use(process.openNamespace('user'));
  using ourUser = openOwnNamespace('user');
  if (isSameFile(stat(user), stat(ourUser)) || ownerUid(user) !== uid) return undefined;
  using parent = parentUserNamespace(user);
  if (!isSameFile(stat(parent), stat(ourUser))) return undefined;
  using owner = owningUserNamespace(mount);
  if (!isSameFile(stat(owner), stat(user)) || !hasOurRoot(mount)) return undefined;
  closing.move(); // they are the caller's to close
  return { mount, user, status };
}

/** Whether the root of a mount namespace is ours: a container's is not. */
function hasOurRoot(mount: Handle): boolean {
  using root = openKernelPath('/', O.PATH);
  const expected = stat(root);
  return inMountNamespace(mount, () => {
    using seen = openCached('/');
    return seen !== undefined && isSameFile(stat(seen), expected);
  });
}

/** Whether an error only says that the process, or the namespace, ended while we looked. */
function isGone(error: unknown): boolean {
  return failedWith(error, 'ENOENT', 'ESRCH', 'EPERM');
}

/** Closes what identify opened. */
export function close({ mount, user, process }: FoundNamespace): void {
  mount.close();
  user.close();
  process.close();
}
