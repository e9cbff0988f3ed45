import { type Handle, openKernelPath } from '../handle.ts';
import { ioctlIfKnown, O, setns } from '../libc.ts';

/** include/uapi/linux/sched.h. */
const CLONE_NEWNET = 0x40000000;
/** include/uapi/linux/nsfs.h: _IO(0xb7, 3). */
const NS_GET_NSTYPE = 0xb703;

let home: Handle | undefined;

/**
 * Runs a block in another network namespace, on the calling thread only. The block must be synchronous. A socket that
 * it makes stays in that namespace; so does /proc/sys/net and /proc/net while the block runs. Nobody can steer a path
 * here: the mount namespace stays the host's. If there is no way back the process ends, since it would answer Nomad
 * and Prometheus from a user's network.
 * @throws SyscallError, and what the block throws
 */
export function inNetworkNamespace<T>(netns: Handle, block: () => T): T {
  home ??= openKernelPath('/proc/self/ns/net', O.RDONLY);
  setns(netns.path, netns.fd, CLONE_NEWNET);
  try {
    return block();
  } finally {
    goHome(home);
  }
}

function goHome(namespace: Handle): void {
  try {
    setns(namespace.path, namespace.fd, CLONE_NEWNET);
  } catch (error) {
    process.stderr.write(`nomad-rootless: cannot return to the host's network namespace, ending: ${error}\n`);
    process.abort();
  }
}

/** Whether an open file is a network namespace, ioctl_ns(2). @throws SyscallError */
export function isNetworkNamespace(file: Handle): boolean {
  return ioctlIfKnown(file.path, file.fd, NS_GET_NSTYPE, null) === CLONE_NEWNET;
}
