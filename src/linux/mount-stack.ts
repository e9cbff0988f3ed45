import { readFileSync } from 'node:fs';
import { ParseError } from '../errors.ts';
import type { Handle } from './handle.ts';
import { AT, statxByName, statxCall } from './libc.ts';
import { STATX } from './stat.ts';

/** include/uapi/linux/stat.h; Linux 5.8. */
const STATX_MNT_ID = 0x1000;
/** The same; Linux 6.8. */
const STATX_MNT_ID_UNIQUE = 0x4000;

/** One mount, as proc_pid_mountinfo(5) has it. */
interface Mount {
  readonly parent: number;
  readonly mountPoint: string;
  /** What of its filesystem is mounted: of a namespace file, `net:[4026532247]`. */
  readonly root: string;
}

/**
 * What is mounted over one another at the path of an open file, from the one that is seen down to the lowest, in this
 * process's mount namespace: the root of each mount. Mounts at the same path that lie under another mount's directory,
 * and so cannot be seen, are none of them.
 * @throws ParseError, SyscallError, an Error of node:fs
 */
export function mountStackAt(file: Handle): string[] {
  return mountStackIn(readFileSync('/proc/thread-self/mountinfo', 'utf8'), mountIdOf(file));
}

/**
 * The same of the text of a mountinfo file, from the mount with this ID down. A busy host has thousands of mounts: only the
 * lines of these are parsed. @throws ParseError
 */
export function mountStackIn(mountInfo: string, id: number): string[] {
  const stack: string[] = [];
  const top = mountIn(mountInfo, id);
  for (let mount = top; mount && mount.mountPoint === top?.mountPoint; mount = mountIn(mountInfo, mount.parent)) {
    stack.push(mount.root);
  }
  return stack;
}

function mountIn(mountInfo: string, id: number): Mount | undefined {
  const line = mountLine(mountInfo, id);
  return line === undefined ? undefined : parseMount(line);
}

/** The line of the mount with this ID in the text of a mountinfo file; undefined where there is none. */
export function mountLine(mountInfo: string, id: number): string | undefined {
  const start = mountInfo.startsWith(`${id} `) ? 0 : mountInfo.indexOf(`\n${id} `) + 1;
  const line = mountInfo.slice(start, mountInfo.indexOf('\n', start));
  return line.startsWith(`${id} `) ? line : undefined;
}

/**
 * Whether what is mounted at a name in an open directory was mounted after the mount that another open file is on: the kernel
 * numbers mounts from its boot on, and gives no number twice. That holds for mounts that were made in this mount namespace or
 * came here by propagation; those that were copied with it when it was made have numbers of that time, in no order. False where
 * the kernel does not tell.
 * @throws SyscallError
 */
export function isMountedAfter(directory: Handle, name: string, other: Handle): boolean {
  const buffer = Buffer.alloc(STATX.SIZE);
  const flags = AT.SYMLINK_NOFOLLOW | AT.NO_AUTOMOUNT | AT.STATX_DONT_SYNC;
  const path = `${directory.path}/${name}`;
  if (statxByName(path, directory.fd, name, flags, STATX_MNT_ID_UNIQUE, buffer) < 0) return false;
  const at = idIn(buffer, STATX_MNT_ID_UNIQUE);
  const before = toldOf(other, STATX_MNT_ID_UNIQUE);
  return at !== undefined && before !== undefined && at > before;
}

/** The id of the mount that an open file was reached by, from what the kernel has: no filesystem is asked. @throws SyscallError */
export function mountIdOf(file: Handle): number {
  return Number(toldOf(file, STATX_MNT_ID));
}

/** One of the two ids of a mount, which statx(2) tells in the same place; undefined where this kernel has none of that kind. */
type MountIdKind = typeof STATX_MNT_ID | typeof STATX_MNT_ID_UNIQUE;

function toldOf(file: Handle, id: MountIdKind): bigint | undefined {
  const buffer = Buffer.alloc(STATX.SIZE);
  statxCall(file.path, file.fd, '', AT.EMPTY_PATH | AT.STATX_DONT_SYNC, id, buffer);
  return idIn(buffer, id);
}

function idIn(buffer: Buffer, id: MountIdKind): bigint | undefined {
  const isTold = (buffer.readUInt32LE(STATX.MASK) & id) !== 0;
  return isTold ? buffer.readBigUInt64LE(STATX.MNT_ID) : undefined;
}

function parseMount(line: string): Mount {
  const [id = '', parent = '', , root = '', mountPoint = ''] = line.split(' ');
  if (!/^\d+$/.test(id) || !/^\d+$/.test(parent) || !mountPoint.startsWith('/')) {
    throw new ParseError('/proc/self/mountinfo', 'ID, parent, device, root and mount point', line.slice(0, 200));
  }
  return { parent: Number(parent), root: unescaped(root), mountPoint: unescaped(mountPoint) };
}

/** Spaces and the like are written in octal, as \040. */
function unescaped(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
