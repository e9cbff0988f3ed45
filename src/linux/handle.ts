import { failedWith, NotYetError } from '../errors.ts';
import { AT, answer, closeFd, O, openat2, openat2Cached, RESOLVE, SyscallError } from './libc.ts';

/** An open file descriptor with the path it was opened by, for messages. Close it with `using` or `close()`. */
export class Handle implements Disposable {
  readonly path: string;
  #fd: number | undefined;

  constructor(fd: number, path: string) {
    this.#fd = fd;
    this.path = path;
  }

  /** Throws once it is closed: the number may by then be another file's. */
  get fd(): number {
    if (this.#fd === undefined) throw new NotYetError('handle_closed', `the handle of ${this.path} is closed`);
    return this.#fd;
  }

  close(): void {
    if (this.#fd === undefined) return;
    const fd = this.#fd;
    this.#fd = undefined;
    closeFd(this.path, fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** sizeof(struct open_how), include/uapi/linux/openat2.h: three __u64. */
export const OPEN_HOW_SIZE = 24;

/** The kernel only reads them: one for each combination that we use. */
const openHows = new Map<number, Buffer>();

function openHow(flags: number, resolve: number): Buffer {
  const key = resolve * 2 ** 32 + flags;
  const known = openHows.get(key);
  if (known) return known;
  const how = Buffer.alloc(OPEN_HOW_SIZE);
  openHows.set(key, how);
  how.writeBigUInt64LE(BigInt(flags | O.CLOEXEC), 0);
  how.writeBigUInt64LE(BigInt(resolve), 16);
  return how;
}

/** Undefined where nothing is there. */
function open(parent: Handle | undefined, path: string, flags: number, resolve: number): Handle | undefined {
  const shown = parent ? `${parent.path}/${path}` : path;
  const fd = openat2(shown, parent?.fd ?? AT.FDCWD, path, openHow(flags, resolve), OPEN_HOW_SIZE);
  return fd < 0 ? undefined : new Handle(fd, shown);
}

function required(handle: Handle | undefined, path: string): Handle {
  if (!handle) throw new SyscallError('openat2', -answer('ENOENT'), path);
  return handle;
}

/** Opens what the kernel itself provides, such as /proc/<pid>/ns/mnt: magic links are followed. @throws SyscallError */
export function openKernelPath(path: string, flags: number): Handle {
  return required(open(undefined, path, flags, 0), path);
}

/**
 * Opens an absolute path that only root can have shaped, such as the data dir: no symlink, no magic link on the way.
 * Callers canonicalise it once at start.
 * @throws SyscallError
 */
export function openAbsolute(path: string, flags?: number): Handle {
  return required(openAbsoluteIfThere(path, flags), path);
}

/** Like openAbsolute, with undefined where nothing is there. */
export function openAbsoluteIfThere(path: string, flags: number = O.PATH | O.DIRECTORY): Handle | undefined {
  return open(undefined, path, flags, RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS);
}

/**
 * Opens what lies beneath a handle; undefined where nothing is there. Stops whoever can write in there (a container, a
 * user) from leading us out by a symlink, `..`, a magic link or a mount. It does not say that it is still the same file
 * a moment later: act on the handle.
 * @throws SyscallError (ELOOP for a symlink, EXDEV for a way out or another mount)
 */
export function openBeneathIfThere(
  parent: Handle,
  path: string,
  flags: number = O.PATH | O.NOFOLLOW,
): Handle | undefined {
  return open(parent, path, flags, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS | RESOLVE.NO_XDEV);
}

/**
 * Like openBeneathIfThere, but into other mounts too, and undefined where the way does not lead there. Only to look:
 * what root has mounted in a directory that others can write to.
 */
export function openMountedBeneath(
  parent: Handle,
  path: string,
  flags: number = O.PATH | O.NOFOLLOW,
): Handle | undefined {
  try {
    return open(parent, path, flags, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS);
  } catch (error) {
    if (failedWith(error, 'ENOTDIR', 'ELOOP', 'EXDEV')) return undefined;
    throw error;
  }
}

/**
 * Whether a path leads nowhere but to what lies beneath a handle, symlinks that stay in there followed; also where nothing is
 * there. Only to look: whoever can write in there can make it lead elsewhere a moment later. Undefined where a name was
 * changed meanwhile, anywhere on the host: then it is to be asked again. Links that lead to links can make it take some milliseconds.
 * @throws SyscallError
 */
export function staysBeneath(parent: Handle, path: string): boolean | undefined {
  try {
    open(parent, path, O.PATH, RESOLVE.BENEATH | RESOLVE.NO_MAGICLINKS)?.close();
    return true;
  } catch (error) {
    if (failedWith(error, 'EXDEV', 'ELOOP')) return false;
    if (failedWith(error, 'ENOTDIR', 'ENAMETOOLONG')) return true;
    if (failedWith(error, 'EAGAIN')) return undefined;
    throw error;
  }
}

/** Whether something is mounted on what has this name in an open directory. What is mounted is not gone into. @throws SyscallError */
export function isMountedIn(directory: Handle, name: string): boolean {
  try {
    using _there = openBeneathIfThere(directory, name);
    return false;
  } catch (error) {
    if (failedWith(error, 'EXDEV')) return true;
    throw error;
  }
}

/** A look-up from the dentry cache can fail without a reason of its own while mounts change elsewhere: then it is tried again. */
const CACHED_TRIES = 20;

/**
 * Opens an absolute path in a mount namespace that a user shapes, from the dentry cache alone. A user can mount a
 * filesystem of her own on the way, whose server she makes hang; a look-up that would have to ask it ends in EAGAIN
 * here instead of stopping the whole agent (RESOLVE_CACHED, Linux 5.12). Undefined where the way leads nowhere.
 * @throws NotYetError (code view_unreadable)
 */
export function openCached(path: string, flags: number = O.PATH | O.DIRECTORY): Handle | undefined {
  const found = lookUpCached(path, flags);
  if (found !== 'uncached') return found;
  throw new NotYetError('view_unreadable', `${path} cannot be looked up without waiting`);
}

/** Like openCached, with undefined also where it is not in the cache. @throws SyscallError */
export function openIfCached(path: string, flags: number): Handle | undefined {
  const found = lookUpCached(path, flags);
  return found === 'uncached' ? undefined : found;
}

function lookUpCached(path: string, flags: number): Handle | 'uncached' | undefined {
  const how = openHow(flags, RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS | RESOLVE.CACHED);
  try {
    for (let tries = 1; tries <= CACHED_TRIES; tries++) {
      const fd = openat2Cached(path, AT.FDCWD, path, how, OPEN_HOW_SIZE);
      if (fd >= 0) return new Handle(fd, path);
      if (fd === answer('ENOENT')) return undefined;
    }
    return 'uncached';
  } catch (error) {
    if (failedWith(error, 'ENOTDIR', 'ELOOP', 'EACCES')) return undefined;
    throw error;
  }
}
