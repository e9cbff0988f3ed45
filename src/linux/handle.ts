import { NotYetError } from '../errors.ts';
import { AT, closeFd, O, openat2, RESOLVE, SyscallError } from './libc.ts';

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

/** Opens what the kernel itself provides, such as /proc/<pid>/ns/mnt: magic links are followed. @throws SyscallError */
export function openKernelPath(path: string, flags: number): Handle {
  return new Handle(openat2(path, AT.FDCWD, path, openHow(flags, 0), OPEN_HOW_SIZE), path);
}

function openHow(flags: number, resolve: number): Buffer {
  const how = Buffer.alloc(OPEN_HOW_SIZE);
  how.writeBigUInt64LE(BigInt(flags | O.CLOEXEC), 0);
  how.writeBigUInt64LE(BigInt(resolve), 16);
  return how;
}

/**
 * Opens an absolute path that only root can have shaped, such as the data dir: no symlink, no magic link on the way.
 * Callers canonicalise it once at start.
 * @throws SyscallError
 */
export function openAbsolute(path: string, flags: number = O.PATH | O.DIRECTORY): Handle {
  const fd = openat2(path, AT.FDCWD, path, openHow(flags, RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS), OPEN_HOW_SIZE);
  return new Handle(fd, path);
}

/**
 * Opens what lies beneath a handle. Stops whoever can write in there (a container, a user) from leading us out by a
 * symlink, `..`, a magic link or a mount. It does not say that it is still the same file a moment later: act on the handle.
 * @throws SyscallError (ELOOP for a symlink, EXDEV for a way out or another mount)
 */
export function openBeneath(parent: Handle, path: string, flags: number = O.PATH | O.NOFOLLOW): Handle {
  const resolve = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS | RESOLVE.NO_XDEV;
  const shown = `${parent.path}/${path}`;
  return new Handle(openat2(shown, parent.fd, path, openHow(flags, resolve), OPEN_HOW_SIZE), shown);
}

/**
 * Like openBeneath, but into other mounts too, and undefined where the way does not lead there. Only to look: what root
 * has mounted in a directory that others can write to.
 */
export function openMountedBeneath(parent: Handle, path: string): Handle | undefined {
  const resolve = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS;
  const shown = `${parent.path}/${path}`;
  try {
    return new Handle(openat2(shown, parent.fd, path, openHow(O.PATH | O.NOFOLLOW, resolve), OPEN_HOW_SIZE), shown);
  } catch (error) {
    if (error instanceof SyscallError && error.is('ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV')) return undefined;
    throw error;
  }
}

/** Like openBeneath, with undefined where nothing is there. */
export function openBeneathIfThere(parent: Handle, path: string, flags?: number): Handle | undefined {
  return ifThere(() => openBeneath(parent, path, flags));
}

/** Like openAbsolute, with undefined where nothing is there. */
export function openAbsoluteIfThere(path: string, flags?: number): Handle | undefined {
  return ifThere(() => openAbsolute(path, flags));
}

function ifThere(open: () => Handle): Handle | undefined {
  try {
    return open();
  } catch (error) {
    if (error instanceof SyscallError && error.is('ENOENT')) return undefined;
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
export function openCached(path: string): Handle | undefined {
  const resolve = RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS | RESOLVE.CACHED;
  const how = openHow(O.PATH | O.DIRECTORY, resolve);
  for (let tries = 1; ; tries++) {
    try {
      return new Handle(openat2(path, AT.FDCWD, path, how, OPEN_HOW_SIZE), path);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      if (error.is('ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES')) return undefined;
      if (!error.is('EAGAIN')) throw error;
      if (tries === CACHED_TRIES)
        throw new NotYetError('view_unreadable', `${path} cannot be looked up without waiting`, error);
    }
  }
}
