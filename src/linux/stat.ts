import type { Handle } from './handle.ts';
import { AT, statxByName, statxCall } from './libc.ts';

/** What we ask of statx(2). `dev` is "major:minor" as in mountinfo; uid, gid are the host's. */
export interface Stat {
  readonly mode: number;
  /** Of a directory on a tmpfs, two more than it has directories in it. */
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  readonly dev: string;
  readonly ino: bigint;
  /** Whether it is the root of a mount; Linux 5.8. */
  readonly isMountRoot: boolean;
}

/** sizeof(struct statx) and the offsets in it, include/uapi/linux/stat.h. */
export const STATX = {
  SIZE: 256,
  MASK: 0,
  ATTRIBUTES: 8,
  NLINK: 16,
  UID: 20,
  GID: 24,
  MODE: 28,
  INO: 32,
  DEV_MAJOR: 136,
  DEV_MINOR: 140,
  MNT_ID: 144,
} as const;
const STATX_BASIC_STATS = 0x7ff;
const STATX_ATTR_MOUNT_ROOT = 0x2000n;
/** What the kernel writes to: it is read before the next call. */
const buffer = Buffer.alloc(STATX.SIZE);
const S_IFMT = 0o170000;

/**
 * The attributes of an open file, from what the kernel has: AT_STATX_DONT_SYNC, so that a filesystem whose server
 * hangs cannot stop us.
 * @throws SyscallError
 */
export function stat(handle: Handle): Stat {
  statxCall(handle.path, handle.fd, '', AT.EMPTY_PATH | AT.STATX_DONT_SYNC, STATX_BASIC_STATS, buffer);
  return fromBuffer();
}

/**
 * The same of what has a name in an open directory, of what is mounted there where something is; undefined where nothing has it.
 * Nothing is opened: a descriptor of a mount, O_PATH ones too, makes umount(2) of it fail with EBUSY.
 * @param name one component
 * @throws SyscallError
 */
export function statIn(directory: Handle, name: string): Stat | undefined {
  const flags = AT.SYMLINK_NOFOLLOW | AT.NO_AUTOMOUNT | AT.STATX_DONT_SYNC;
  const path = `${directory.path}/${name}`;
  return statxByName(path, directory.fd, name, flags, STATX_BASIC_STATS, buffer) < 0 ? undefined : fromBuffer();
}

function fromBuffer(): Stat {
  return {
    mode: buffer.readUInt16LE(STATX.MODE),
    links: buffer.readUInt32LE(STATX.NLINK),
    uid: buffer.readUInt32LE(STATX.UID),
    gid: buffer.readUInt32LE(STATX.GID),
    dev: `${buffer.readUInt32LE(STATX.DEV_MAJOR)}:${buffer.readUInt32LE(STATX.DEV_MINOR)}`,
    ino: buffer.readBigUInt64LE(STATX.INO),
    isMountRoot: (buffer.readBigUInt64LE(STATX.ATTRIBUTES) & STATX_ATTR_MOUNT_ROOT) !== 0n,
  };
}

/** Whether two stats are of the same file: the same device and inode. Sound only while one of the two is held open. */
export function isSameFile(a: Stat, b: Stat): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

/** Whether the stat is of a directory, inode(7). */
export function isDirectory(status: Stat): boolean {
  return (status.mode & S_IFMT) === 0o040000;
}

/** Whether the stat is of a FIFO, inode(7). */
export function isFifo(status: Stat): boolean {
  return (status.mode & S_IFMT) === 0o010000;
}

/** Whether the stat is of a regular file, inode(7). */
export function isRegularFile(status: Stat): boolean {
  return (status.mode & S_IFMT) === 0o100000;
}
