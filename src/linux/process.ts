import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { Handle, openKernelPath } from './handle.ts';
import { ioctl, O, pidfdOpen, pidfdSendSignal, SyscallError } from './libc.ts';
import { isSameFile, type Stat, stat } from './stat.ts';

/** ioctls on namespace files, include/uapi/linux/nsfs.h: _IO(0xb7, n). */
const NS_GET_USERNS = 0xb701;
const NS_GET_PARENT = 0xb702;
const NS_GET_OWNER_UID = 0xb704;

/** A process known by its pidfd: no other process can take its place behind our back. */
export class ProcessHandle implements Disposable {
  readonly pid: number;
  readonly #pidfd: Handle;

  private constructor(pid: number, pidfd: Handle) {
    this.pid = pid;
    this.#pidfd = pidfd;
  }

  /** undefined where there is no such process. */
  static open(pid: number): ProcessHandle | undefined {
    try {
      return new ProcessHandle(pid, new Handle(pidfdOpen(`pid ${pid}`, pid, 0), `pid ${pid}`));
    } catch (error) {
      if (error instanceof SyscallError && error.is('ESRCH', 'EINVAL')) return undefined;
      throw error;
    }
  }

  /** Whether it still runs. What was read from /proc/<pid> before a true answer was this process's. */
  isAlive(): boolean {
    try {
      pidfdSendSignal(`pid ${this.pid}`, this.#pidfd.fd, 0, null, 0);
      return true;
    } catch (error) {
      if (error instanceof SyscallError && error.is('ESRCH')) return false;
      throw error;
    }
  }

  close(): void {
    this.#pidfd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A namespace of a process, as an open nsfs file. @throws SyscallError */
export function openNamespace(pid: number | 'self', kind: 'mnt' | 'user' | 'net'): Handle {
  return openKernelPath(`/proc/${pid}/ns/${kind}`, O.RDONLY);
}

/** The user namespace that owns another namespace. @throws SyscallError (EPERM where it is out of our sight) */
export function owningUserNamespace(namespace: Handle): Handle {
  return new Handle(ioctl(namespace.path, namespace.fd, NS_GET_USERNS, null), `owner of ${namespace.path}`);
}

/** The parent of a user namespace. @throws SyscallError (EPERM for the initial one) */
export function parentUserNamespace(userNamespace: Handle): Handle {
  return new Handle(
    ioctl(userNamespace.path, userNamespace.fd, NS_GET_PARENT, null),
    `parent of ${userNamespace.path}`,
  );
}

/** The uid, as the host sees it, that made a user namespace. @throws SyscallError */
export function ownerUid(userNamespace: Handle): number {
  const uid = Buffer.alloc(4);
  ioctl(userNamespace.path, userNamespace.fd, NS_GET_OWNER_UID, uid);
  return uid.readUInt32LE(0);
}

/** Real, effective, saved and filesystem uid of a process, proc_pid_status(5). @throws an Error of node:fs where it is gone */
export function uidsOf(pid: number): number[] {
  const line = /^Uid:\s+(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
  return line.split(/\s+/).map(Number);
}

/** Whether the root directory of a process is ours: a container's is not. @throws an Error of node:fs where it is gone */
export function hasOurRoot(pid: number): boolean {
  using theirs = openKernelPath(`/proc/${pid}/root`, O.PATH);
  using ours = openKernelPath('/proc/self/root', O.PATH);
  return isSameFile(stat(theirs), stat(ours));
}

/** The stat of an open namespace: two of them are the same namespace if these are the same file, ioctl_ns(2). */
export function namespaceStat(namespace: Handle): Stat {
  return stat(namespace);
}

/**
 * Processes of a user that hold the listening end of a unix socket. Needed where systemd listens on the user's behalf:
 * the socket's peer is then systemd, and who serves it is found by the descriptor it inherited.
 */
export function listenersOf(socketPath: string, uid: number): number[] {
  const inode = listeningInode(socketPath);
  if (inode === undefined) return [];
  const link = `socket:[${inode}]`;
  return pidsOf(uid).filter((pid) => descriptorLinks(pid).includes(link));
}

/** The processes whose effective uid is this. */
export function pidsOf(uid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => isOf(pid, uid));
}

/** The processes that live in a namespace, as far as /proc tells. */
export function pidsIn(namespace: Handle, kind: 'net'): number[] {
  const name = nameOfNamespace(namespace, kind);
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => namespaceName(pid, kind) === name);
}

/** The name of an open namespace, such as `net:[4026532247]`, namespaces(7). */
export function nameOfNamespace(namespace: Handle, kind: 'net'): string {
  return `${kind}:[${stat(namespace).ino}]`;
}

/** What tells one namespace of living processes from another, such as `mnt:[4026531841]`; undefined where the process is gone. */
export function namespaceName(pid: number, kind: 'mnt' | 'user' | 'net'): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return undefined; // it ended while we looked
  }
}

const SO_ACCEPTCON = 0x10000;

/** /proc/net/unix, proc_net(5): Num RefCount Protocol Flags Type St Inode Path. */
function listeningInode(socketPath: string): string | undefined {
  for (const line of readFileSync('/proc/net/unix', 'utf8').split('\n')) {
    const [, , , flags, , , inode, path] = line.trim().split(/\s+/);
    if (path === socketPath && flags !== undefined && Number.parseInt(flags, 16) & SO_ACCEPTCON) return inode;
  }
  return undefined;
}

function isOf(pid: number, uid: number): boolean {
  try {
    return statSync(`/proc/${pid}`).uid === uid;
  } catch {
    return false; // it ended while we looked: then it serves nothing
  }
}

/** systemd hands sockets over from descriptor 3 on, sd_listen_fds(3); a user with a million open files is not worth a look at each. */
const INHERITED = Array.from({ length: 16 }, (_, at) => at + 3);

function descriptorLinks(pid: number): string[] {
  return INHERITED.flatMap((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return []; // not open, or the process ended while we looked
    }
  });
}
