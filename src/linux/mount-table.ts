import { readFileSync } from 'node:fs';
import { type Handle, openKernelPath } from './handle.ts';
import { O, pollCall } from './libc.ts';
import { mountIdOf, mountLine } from './mount-stack.ts';

const MOUNTINFO = '/proc/self/mountinfo';
/** poll(2): struct pollfd is an int and two shorts, include/uapi/asm-generic/poll.h. */
const POLLFD_SIZE = 8;
const EVENTS_OFFSET = 4;
const REVENTS_OFFSET = 6;
const POLLPRI = 0x02;

interface Table {
  /** Tells of changes, proc_pid_mounts(5): once for all that there were since it was last asked. */
  readonly changes: Handle;
  text: string;
}

let table: Table | undefined;

/**
 * The type of the filesystem that an open file lies on, proc_pid_mountinfo(5); undefined where its mount is none of the host's
 * any more. The filesystem itself is not asked, as statfs(2) would: its server may be one that does not answer. The mounts
 * are read anew only after one has changed.
 * @throws SyscallError, an Error of node:fs
 */
export function filesystemTypeOf(file: Handle): string | undefined {
  table ??= { changes: openKernelPath(MOUNTINFO, O.RDONLY), text: '' };
  // In this order: while the file is open, no other mount gets the id of its mount.
  const id = mountIdOf(file);
  if (table.text === '' || hasChanged(table.changes)) table.text = readFileSync(MOUNTINFO, 'utf8');
  // Optional fields end with a hyphen; spaces in paths are escaped.
  return / - (\S+)/.exec(mountLine(table.text, id) ?? '')?.[1];
}

function hasChanged(changes: Handle): boolean {
  const pollfd = Buffer.alloc(POLLFD_SIZE);
  pollfd.writeInt32LE(changes.fd, 0);
  pollfd.writeInt16LE(POLLPRI, EVENTS_OFFSET);
  pollCall(MOUNTINFO, pollfd, 1, 0);
  return (pollfd.readInt16LE(REVENTS_OFFSET) & POLLPRI) !== 0;
}
