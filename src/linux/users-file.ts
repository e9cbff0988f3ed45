import { type Handle, openIfCached } from './handle.ts';
import { O } from './libc.ts';
import { filesystemTypeOf } from './mount-table.ts';

/** `fuse`, `fuseblk`, `fuse.rclone`: what fusermount(1) mounts for anybody, in the host's own mount namespace. */
const FUSE = /^fuse/;

/**
 * Opens what lies at a path that a user shapes on the host, with O_PATH, without waiting for anybody. Stops a user who mounts a
 * filesystem of her own there and opens it to root (`allow_other`): who is stopped by its server, in connect(2) or open(2), is not
 * even ended by SIGKILL. So the way is looked up in the kernel's cache alone, and what lies on such a filesystem is not there:
 * the kernel asks its server for leave (fuse_permission) at whatever is done to it. No symlink or magic link is followed: one to
 * /proc/<pid>/root would lead into a mount namespace of the user's.
 *
 * What is on tmpfs, as /run/user is, is always in the cache, and so is a socket on which somebody listens, wherever it is: the
 * kernel holds its path (net/unix/af_unix.c, unix_sock.path). Does not stop a file server that root has mounted from hanging.
 * @returns undefined where it is not there, or only behind something of these
 * @throws SyscallError, an Error of node:fs
 */
export function openUsersFile(path: string): Handle | undefined {
  const file = openIfCached(path, O.PATH | O.NOFOLLOW);
  if (!file) return undefined;
  try {
    const type = filesystemTypeOf(file);
    if (type !== undefined && !FUSE.test(type)) return file;
  } catch (error) {
    file.close();
    throw error;
  }
  file.close();
  return undefined;
}
