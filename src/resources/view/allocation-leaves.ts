import { failedWith, RefusedError } from '../../errors.ts';
import { entriesUpTo } from '../../linux/directory.ts';
import { type Handle, openBeneathIfThere } from '../../linux/handle.ts';
import { O, SyscallError } from '../../linux/libc.ts';
import { isDirectory, isRegularFile, stat, statIn } from '../../linux/stat.ts';
import type { Leaf } from './leaf.ts';
import { ALLOC_DIRECTORIES, openSharedDir } from './shared-dir.ts';

const DIRECTORY = O.PATH | O.DIRECTORY | O.NOFOLLOW;
/** Of the entries at the top of Nomad's alloc/. Tasks of other drivers can fill it. */
const MOST_TOP_ENTRIES = 100;
/** Nomad mounts it in the directory of a task, and unmounts it when it collects the allocation (client/allocdir, createSecretDir). */
const SECRETS = 'secrets';
/** Nomad's own: credentials that the task itself is not to have (client/allocdir). */
const PRIVATE = 'private';

/** Whose leaves of an allocation are wanted. */
interface LeavesOf {
  /** The tasks of the user. */
  readonly tasks: readonly string[];
  /** Paths from the allocation's directory on that creates of containers have named as sources of mounts. */
  readonly named: readonly string[];
  readonly ids: Leaf['ids'];
  /** Whether alloc/tmp is only for reading and for connecting to sockets. */
  readonly isTmpReadOnly: boolean;
}

/**
 * What a user is shown of an allocation, as far as Nomad has made it: leaves only, in none of which a process of root's
 * looks up names that could lead out of it. Each is opened relative to the allocation's directory, without symlinks. What
 * others are mounted in comes first.
 * @param opened closes the handles
 * @throws RefusedError `unsafe_path`, `private_dir`; SyscallError
 */
export function openLeaves(
  allocation: Handle,
  { tasks, named, ids, isTmpReadOnly }: LeavesOf,
  opened: DisposableStack,
): Leaf[] {
  const leaf = (source: Handle, place: string, more: Partial<Leaf> = {}): Leaf => ({
    path: `${allocation.path}/${place}`,
    source: opened.use(source),
    isReadOnly: false,
    ids: 'plain',
    isTree: false,
    isPart: false,
    followsSymlinks: true,
    ...more,
  });
  const leaves: Leaf[] = [];
  const shared = openSharedDir(allocation);
  if (shared) leaves.push(leaf(shared, 'alloc', { followsSymlinks: false }));
  using alloc = openSafely(allocation, 'alloc', DIRECTORY);
  for (const name of alloc && shared ? ALLOC_DIRECTORIES : []) {
    const directory = alloc && openSafely(alloc, name, DIRECTORY);
    const isReadOnly = name === 'logs' || (name === 'tmp' && isTmpReadOnly);
    if (directory)
      leaves.push(leaf(directory, `alloc/${name}`, { isReadOnly, isPart: true, followsSymlinks: name !== 'logs' }));
  }
  for (const name of alloc && shared ? topEntries(allocation) : []) {
    const entry = alloc && openShowable(alloc, name);
    if (entry) leaves.push(leaf(entry, `alloc/${name}`, { isReadOnly: true, ids }));
  }
  for (const task of tasks) {
    const taskDir = openSafely(allocation, task, DIRECTORY);
    if (!taskDir) continue;
    opened.use(taskDir);
    const local = openSafely(taskDir, 'local', DIRECTORY);
    if (local) leaves.push(leaf(local, `${task}/local`, { ids }));
    const secrets = statIn(taskDir, SECRETS);
    if (secrets && isDirectory(secrets)) {
      leaves.push(leaf(taskDir, `${task}/${SECRETS}`, { name: SECRETS, isReadOnly: true, ids }));
    }
    for (const path of namedIn(task, named)) {
      const entry = openShowable(taskDir, path);
      if (entry) leaves.push(leaf(entry, `${task}/${path}`, { isReadOnly: true, ids }));
    }
  }
  return leaves;
}

/** Whether Nomad has begun to build the directory of a task, and has not mounted its secrets/ yet. */
export function isHalfBuilt(allocation: Handle, task: string): boolean {
  using taskDir = openSafely(allocation, task, DIRECTORY);
  if (!taskDir) return false;
  const secrets = statIn(taskDir, SECRETS);
  return secrets === undefined || secrets.dev === stat(taskDir).dev;
}

function topEntries(allocation: Handle): string[] {
  using alloc = openSafely(allocation, 'alloc', O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  const known: readonly string[] = ALLOC_DIRECTORIES;
  return alloc ? entriesUpTo(alloc, MOST_TOP_ENTRIES).filter((name) => !known.includes(name)) : [];
}

/** What creates have named in the directory of a task and is not shown anyway; of several within one another the outermost. */
function namedIn(task: string, named: readonly string[]): string[] {
  const paths = named
    .filter((path) => path.startsWith(`${task}/`))
    .map((path) => path.slice(task.length + 1))
    .filter((path) => !['local', SECRETS].includes(path.split('/', 1)[0] ?? ''));
  if (paths.some((path) => path.split('/', 1)[0] === PRIVATE)) {
    const message = `task ${task}: ${PRIVATE}/ in its directory is Nomad's own and cannot be mounted; mount something else`;
    throw new RefusedError('private_dir', message);
  }
  return paths.filter((path) => !paths.some((other) => path.startsWith(`${other}/`)));
}

/** Nothing but files and directories: what a socket, a FIFO or a device leads to is not Nomad's to show. */
function openShowable(parent: Handle, path: string): Handle | undefined {
  const entry = openSafely(parent, path, O.PATH | O.NOFOLLOW);
  const status = entry && stat(entry);
  if (!status || isDirectory(status) || isRegularFile(status)) return entry;
  entry?.close();
  return undefined;
}

/** @throws RefusedError `unsafe_path` where a symlink or a mount lies on the way, or something that is not a directory */
function openSafely(parent: Handle, path: string, flags: number): Handle | undefined {
  try {
    return openBeneathIfThere(parent, path, flags);
  } catch (error) {
    if (!(error instanceof SyscallError && failedWith(error, 'ELOOP', 'EXDEV', 'ENOTDIR'))) throw error;
    const message = `${error.path} cannot be shown: it is or leads through a symlink, another mount, or something that is not a directory`;
    throw new RefusedError('unsafe_path', message, error);
  }
}
