import { createReadStream, readFileSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { letOthersRun } from '../clock.ts';
import { failedWith } from '../errors.ts';
import { Handle, openKernelPath } from './handle.ts';
import { ioctl, O, pidfdOpen, pidfdSendSignal } from './libc.ts';
import { isSameFile, type Stat, stat } from './stat.ts';

/** ioctls on namespace files, include/uapi/linux/nsfs.h: _IO(0xb7, n). */
const NS_GET_USERNS = 0xb701;
const NS_GET_PARENT = 0xb702;
const NS_GET_OWNER_UID = 0xb704;
/** ioctls on a pidfd, Linux 6.11, include/uapi/linux/pidfd.h: _IO(0xff, n). */
const PIDFD_GET_NAMESPACE = { mnt: 0xff03, net: 0xff04, user: 0xff09 } as const;

/** The kinds of namespaces that we look at. */
type NamespaceKind = keyof typeof PIDFD_GET_NAMESPACE;

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
      if (failedWith(error, 'ESRCH', 'EINVAL')) return undefined;
      throw error;
    }
  }

  /** Whether it still runs. What was read from /proc/<pid> before a true answer was this process's. */
  isAlive(): boolean {
    try {
      pidfdSendSignal(`pid ${this.pid}`, this.#pidfd.fd, 0, null, 0);
      return true;
    } catch (error) {
      if (failedWith(error, 'ESRCH')) return false;
      throw error;
    }
  }

  /**
   * A namespace of the process, as an open nsfs file. Not by /proc/<pid>/ns where there is another way: of a process that
   * never comes to the end of an execve(2), because it closes a file on a filesystem of the user's then, newer kernels (6.18.44
   * for one) do not let that be opened or read, and who tries waits (exec_update_lock).
   * @throws SyscallError
   */
  openNamespace(kind: NamespaceKind): Handle {
    const path = `/proc/${this.pid}/ns/${kind}`;
    try {
      return new Handle(ioctl(path, this.#pidfd.fd, PIDFD_GET_NAMESPACE[kind], null), path);
    } catch (error) {
      if (failedWith(error, 'ENOTTY')) return openKernelPath(path, O.RDONLY);
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

/** A namespace of ours, as an open nsfs file. @throws SyscallError */
export function openOwnNamespace(kind: NamespaceKind): Handle {
  return openKernelPath(`/proc/self/ns/${kind}`, O.RDONLY);
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

/** How the ids of a process's user namespace are those of ours: uid_map and gid_map, user_namespaces(7). @throws an Error of node:fs where it is gone */
export function idMapOf(pid: number): string {
  const read = (kind: 'uid' | 'gid') => readFileSync(`/proc/${pid}/${kind}_map`, 'utf8').replace(/ +/g, ' ').trim();
  return `uid ${read('uid')}; gid ${read('gid')}`;
}

/** So many processes are looked at before others have the main thread: each takes some 20 µs. */
const SLICE = 200;

/** The processes whose effective uid is this. */
export function pidsOf(uid: number): Promise<number[]> {
  return pidsWhere((pid) => isOf(pid, uid));
}

/** Any user can have thousands. */
async function pidsWhere(isWanted: (pid: number) => boolean): Promise<number[]> {
  const all = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const wanted: number[] = [];
  for (const [index, pid] of all.entries()) {
    if (index % SLICE === SLICE - 1) await letOthersRun();
    if (isWanted(pid)) wanted.push(pid);
  }
  return wanted;
}

/** The name that a process has given itself, proc_pid_comm(5); empty where it is gone. */
export function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'latin1').trim();
  } catch {
    return ''; // it ended while we looked
  }
}

/** The name of an open namespace, such as `net:[4026532247]`, namespaces(7). */
export function nameOfNamespace(namespace: Handle, kind: 'net'): string {
  return `${kind}:[${stat(namespace).ino}]`;
}

/** The processes that live in a namespace, as far as /proc tells. @throws SyscallError */
export function pidsIn(namespace: Handle, kind: NamespaceKind): Promise<number[]> {
  const status = stat(namespace);
  return pidsWhere((pid) => livesIn(pid, status, kind));
}

/** Whether a process lives in the namespace of this stat. @throws SyscallError */
export function livesIn(pid: number, status: Stat, kind: NamespaceKind): boolean {
  using process = ProcessHandle.open(pid);
  if (!process) return false;
  try {
    using theirs = process.openNamespace(kind);
    return isSameFile(stat(theirs), status);
  } catch (error) {
    // It has ended, or is out of our sight.
    if (failedWith(error, 'ENOENT', 'ESRCH', 'EPERM', 'EACCES')) return false;
    throw error;
  }
}

const SO_ACCEPTCON = 0x10000;

/**
 * The inodes of the sockets that listen at a path, from /proc/net/unix, proc_net(5): Num RefCount Protocol Flags Type St
 * Inode Path. Several, since the path is as whoever bound it said, in a mount namespace of the user's perhaps. Any user can fill that
 * table with tens of thousands of sockets: it is read in pieces, others have the main thread in between.
 * @throws an Error of node:fs
 */
export async function listeningInodes(socketPath: string): Promise<ReadonlySet<string>> {
  const path = Buffer.from(socketPath).toString('latin1');
  const inodes = new Set<string>();
  let rest = '';
  for await (const piece of createReadStream('/proc/net/unix', 'latin1')) {
    const lines = `${rest}${piece}`.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const [, , , flags = '', , , inode] = line.endsWith(` ${path}`) ? line.trim().split(/\s+/) : [];
      if (inode !== undefined && Number.parseInt(flags, 16) & SO_ACCEPTCON) inodes.add(inode);
    }
  }
  return inodes;
}

function isOf(pid: number, uid: number): boolean {
  try {
    return statSync(`/proc/${pid}`).uid === uid;
  } catch {
    return false; // it ended while we looked: then it serves nothing
  }
}
