import { failedWith } from '../errors.ts';
import { type Handle, openKernelPath } from './handle.ts';
import { fchdir, O, pivotRoot, setns, umount2, unshare } from './libc.ts';
import { attach, MNT_DETACH, newTmpfs, PROPAGATION, setMountAttributes } from './mount.ts';

const CLONE_FS = 0x200;
const CLONE_NEWNS = 0x20000;

interface Home {
  readonly namespace: Handle;
  readonly workingDirectory: Handle;
}

let home: Home | undefined;

/**
 * Runs a block in another mount namespace, on the calling thread only: unshare(CLONE_FS) gives the thread a root and
 * working directory of its own, so that libuv's threads keep the host's view. Each time anew, which costs next to nothing:
 * a thread that was started since shares them again. The block must be synchronous and must take no path from a user: what
 * it sees is what she has mounted. If there is no way back the process ends, since
 * everything it would do from then on would be done in a namespace that a user shapes.
 *
 * Call it on the main thread. Afterwards the working directory is the one of the first call.
 * @throws SyscallError, and what the block throws
 */
export function inMountNamespace<T>(namespace: Handle, block: () => T): T {
  home ??= rememberHome();
  unshare('fs', CLONE_FS);
  setns(namespace.path, namespace.fd, CLONE_NEWNS);
  try {
    return block();
  } finally {
    goHome(home);
  }
}

/**
 * Makes a mount namespace that holds nothing but an empty tmpfs of root's as its root directory. It lives as long as its
 * handle, or a mount of it, does. On the main thread, as inMountNamespace.
 * @param options of the tmpfs, as in tmpfs(5)
 * @throws SyscallError
 */
export function makeMountNamespace(options: Readonly<Record<string, string>>): Handle {
  home ??= rememberHome();
  unshare('fs', CLONE_FS);
  unshare('mount namespace', CLONE_NEWNS);
  try {
    using oldRoot = openKernelPath('/', O.PATH | O.DIRECTORY);
    // Nothing that is done to the copies of the host's mounts is to reach the host.
    setMountAttributes(oldRoot, 0, PROPAGATION.SLAVE);
    const namespace = openKernelPath('/proc/thread-self/ns/mnt', O.RDONLY);
    using tmpfs = newTmpfs(options);
    attach(tmpfs, oldRoot);
    fchdir('new root', tmpfs.fd);
    dropOldRoot();
    return namespace;
  } finally {
    goHome(home);
  }
}

/**
 * The new root, in the working directory, over the old one at the same path, and then the old one off it: pivot_root(2), NOTES. An
 * initramfs cannot be taken off: then the host's mounts stay below, and go when they go on the host.
 */
function dropOldRoot(): void {
  try {
    pivotRoot('/', '.', '.');
  } catch (error) {
    if (failedWith(error, 'EINVAL')) return;
    throw error;
  }
  umount2('old root', '.', MNT_DETACH);
}

function rememberHome(): Home {
  const namespace = openKernelPath('/proc/self/ns/mnt', O.RDONLY);
  return { namespace, workingDirectory: openKernelPath('.', O.PATH | O.DIRECTORY) };
}

function goHome({ namespace, workingDirectory }: Home): void {
  try {
    setns(namespace.path, namespace.fd, CLONE_NEWNS);
    fchdir(workingDirectory.path, workingDirectory.fd);
  } catch (error) {
    process.stderr.write(`nomad-rootless: cannot return to the host's mount namespace, ending: ${error}\n`);
    process.abort();
  }
}
