import type { Handle } from './handle.ts';
import { answer, fgetxattr, fremovexattr, fsetxattr, getxattr, removexattr, setxattr } from './libc.ts';

/** Ours, and nearly all ACLs, are far below one page. */
const MOSTLY_ENOUGH = 4096;
/** XATTR_SIZE_MAX, include/uapi/linux/limits.h: what XFS, btrfs and tmpfs take. Of an ACL that is 8000 entries. */
const ALWAYS_ENOUGH = 65_536;

/** What the kernel writes to: copied before the next call. */
const scratch = Buffer.alloc(MOSTLY_ENOUGH);

/**
 * The kernel refuses f*xattr on O_PATH handles. For what must not be opened for reading (a FIFO: that would count as
 * a reader) the same inode is reached through its magic link, which names the handle and nothing a user can steer.
 */
function magicLink(handle: Handle): string {
  return `/proc/self/fd/${handle.fd}`;
}

/**
 * An extended attribute of an open file, of any size; undefined where it has none of that name.
 * @throws SyscallError (EOPNOTSUPP where the filesystem has none at all)
 */
export function getAttribute(handle: Handle, name: string): Buffer | undefined {
  const size = read(handle, name, scratch);
  if (size !== answer('ERANGE')) return size < 0 ? undefined : Buffer.from(scratch.subarray(0, size));
  const large = Buffer.alloc(ALWAYS_ENOUGH);
  const again = read(handle, name, large);
  return again < 0 ? undefined : large.subarray(0, again);
}

function read(handle: Handle, name: string, buffer: Buffer): number {
  return onEither(fgetxattr(handle.path, handle.fd, name, buffer, buffer.length), () =>
    getxattr(handle.path, magicLink(handle), name, buffer, buffer.length),
  );
}

/** Sets an extended attribute of an open file. @throws SyscallError */
export function setAttribute(handle: Handle, name: string, value: Buffer): void {
  onEither(fsetxattr(handle.path, handle.fd, name, value, value.length, 0), () =>
    setxattr(handle.path, magicLink(handle), name, value, value.length, 0),
  );
}

/** Removes an extended attribute of an open file; nothing where it has none of that name. @throws SyscallError */
export function removeAttribute(handle: Handle, name: string): void {
  onEither(fremovexattr(handle.path, handle.fd, name), () => removexattr(handle.path, magicLink(handle), name));
}

function onEither(byFd: number, byMagicLink: () => number): number {
  return byFd === answer('EBADF') ? byMagicLink() : byFd;
}
