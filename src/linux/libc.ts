import { constants } from 'node:fs';
import { getSystemErrorMessage, getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import { RootlessError } from '../errors.ts';

/** A system call that failed. `errno` is the positive number, `path` what it was about, for people. */
export class SyscallError extends RootlessError {
  readonly syscall: string;
  readonly errno: number;
  readonly path: string;

  constructor(syscall: string, errno: number, path: string) {
    const name = getSystemErrorName(-errno);
    super(`${syscall} ${path}: ${getSystemErrorMessage(-errno)} (${name})`, {
      code: `syscall_${syscall}`,
      retryable: true,
    });
    this.syscall = syscall;
    this.errno = errno;
    this.path = path;
  }
}

const libc = koffi.load('libc.so.6');

/**
 * System calls that glibc 2.31 has no wrapper for. The numbers are the same on x86_64 and arm64: they come after the
 * tables were unified (include/uapi/asm-generic/unistd.h).
 */
const NUMBER = {
  pidfd_send_signal: 424,
  open_tree: 428,
  move_mount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  pidfd_open: 434,
  openat2: 437,
  mount_setattr: 442,
} as const;

type Argument = string | number | bigint | Uint8Array | null;
type CFunction = (...args: Argument[]) => number;
type Call = (path: string, ...args: Argument[]) => number;
type BlockingCall = (path: string, ...args: Argument[]) => Promise<number>;

type ErrorName = keyof typeof koffi.os.errno;

/**
 * A function of the C library, by its C prototype. What fails is thrown as SyscallError about `path`; but the errors
 * that are an ordinary answer, asked for many times a pass, come back as the negative errno: an Error costs as much as
 * ten system calls.
 */
function wrapped(name: string, parameters: string[], answers: ErrorName[] = []): Call {
  const call: CFunction = libc.func(name, 'int', parameters);
  return (path, ...args) => checked(name, path, call(...args), answers);
}

/** A raw system call: syscall(2) takes all it needs in registers, so that a fixed prototype fits both architectures. */
function raw(name: keyof typeof NUMBER, parameters: string[], answers: ErrorName[] = []): Call {
  const call: CFunction = libc.func('syscall', 'long', ['long', ...parameters]);
  return (path, ...args) => checked(name, path, call(NUMBER[name], ...args), answers);
}

/**
 * Like wrapped, for what waits in the kernel: it runs on a thread of the pool, so that the agent does not stand still.
 * Its buffers must not be touched until it is done.
 */
function blocking(name: string, parameters: string[]): BlockingCall {
  const call = libc.func(name, 'long', parameters);
  return (path, ...args) =>
    new Promise((resolve, reject) => {
      call.async(...args, (error: unknown, result: number) => {
        const errno = koffi.errno();
        if (error) reject(error);
        else if (result < 0) reject(new SyscallError(name, errno, path));
        else resolve(result);
      });
    });
}

function checked(name: string, path: string, result: number, answers: readonly ErrorName[]): number {
  if (result >= 0) return result;
  const errno = koffi.errno();
  if (answers.some((answer) => koffi.os.errno[answer] === errno)) return -errno;
  throw new SyscallError(name, errno, path);
}

/** The negative errno of a name, as the calls below return it. */
export function answer(name: ErrorName): number {
  return -(koffi.os.errno[name] ?? 0);
}

/** openat2(2): directory fd, path, struct open_how, its size. Returns -ENOENT where nothing is there. */
export const openat2 = raw('openat2', ['int', 'str', 'void *', 'size_t'], ['ENOENT']);
/** The same for RESOLVE_CACHED. Returns -EAGAIN too, where the cache does not say: that is asked again and again. */
export const openat2Cached = raw('openat2', ['int', 'str', 'void *', 'size_t'], ['ENOENT', 'EAGAIN']);
/** open_tree(2): directory fd, path, flags. */
export const openTreeCall = raw('open_tree', ['int', 'str', 'unsigned int']);
/** move_mount(2): from fd, from path, to fd, to path, flags. */
export const moveMountCall = raw('move_mount', ['int', 'str', 'int', 'str', 'unsigned int']);
/** mount_setattr(2): fd, path, flags, struct mount_attr, its size. */
export const mountSetattrCall = raw('mount_setattr', ['int', 'str', 'unsigned int', 'void *', 'size_t']);
/** fsopen(2): filesystem name, flags. */
export const fsopen = raw('fsopen', ['str', 'unsigned int']);
/** fsconfig(2): fd, command, key, value, aux. */
export const fsconfig = raw('fsconfig', ['int', 'unsigned int', 'str', 'str', 'int']);
/** fsmount(2): fd, flags, mount attributes. */
export const fsmount = raw('fsmount', ['int', 'unsigned int', 'unsigned int']);
/** pidfd_open(2): pid, flags. */
export const pidfdOpen = raw('pidfd_open', ['int', 'unsigned int']);
/** pidfd_send_signal(2): pidfd, signal, siginfo, flags. */
export const pidfdSendSignal = raw('pidfd_send_signal', ['int', 'int', 'void *', 'unsigned int']);
/** umount2(2): target, flags. */
export const umount2 = wrapped('umount2', ['str', 'int']);
/** setns(2): fd, namespace type. */
export const setns = wrapped('setns', ['int', 'int']);
/** unshare(2): flags. */
export const unshare = wrapped('unshare', ['int']);
/** sched_getaffinity(2): thread, size, mask. */
export const schedGetaffinity = wrapped('sched_getaffinity', ['int', 'size_t', 'void *']);
/** sched_setaffinity(2): thread, size, mask. */
export const schedSetaffinity = wrapped('sched_setaffinity', ['int', 'size_t', 'void *']);
/** pivot_root(2): new root, where the old one goes; glibc has it without a prototype. */
export const pivotRoot = wrapped('pivot_root', ['str', 'str']);
/** fchdir(2): fd. */
export const fchdir = wrapped('fchdir', ['int']);
/** close(2): fd. */
export const closeFd = wrapped('close', ['int']);
/** ioctl(2) with one pointer argument. */
export const ioctl = wrapped('ioctl', ['int', 'unsigned long', 'void *']);
/** openat(2): directory fd, path, flags. Returns the negative errno where a kernel parameter cannot be opened. */
export const openParameter = wrapped('openat', ['int', 'str', 'int'], ['EACCES', 'EPERM', 'ENOENT']);
/** openat(2): directory fd, name, flags, mode. Returns -EEXIST where something is there. */
export const openNew = wrapped('openat', ['int', 'str', 'int', 'unsigned int'], ['EEXIST']);
/** read(2): fd, buffer, size. Returns -EIO for a kernel parameter that was never set. */
export const readParameter = wrapped('read', ['int', 'void *', 'size_t'], ['EIO']);
/** write(2): fd, buffer, size. */
export const writeParameter = wrapped('write', ['int', 'void *', 'size_t']);
/** ioctl(2) on what may be another kind of file: returns -ENOTTY for one that knows no such request. */
export const ioctlIfKnown = wrapped('ioctl', ['int', 'unsigned long', 'void *'], ['ENOTTY']);
/** statx(2): directory fd, path, flags, mask, struct statx. */
export const statxCall = wrapped('statx', ['int', 'str', 'int', 'unsigned int', 'void *']);
/** The same by a name. Returns -ENOENT where nothing is there. */
export const statxByName = wrapped('statx', ['int', 'str', 'int', 'unsigned int', 'void *'], ['ENOENT']);
/** mkdirat(2): directory fd, name, mode. */
export const mkdirat = wrapped('mkdirat', ['int', 'str', 'unsigned int']);
/** unlinkat(2): directory fd, name, flags. */
export const unlinkat = wrapped('unlinkat', ['int', 'str', 'int']);
/** fchmod(2): fd, mode. */
export const fchmod = wrapped('fchmod', ['int', 'unsigned int']);
/** getxattr(2): path, name, buffer, size. Returns -ENODATA where there is none of that name, -ERANGE where it is larger than the buffer. */
export const getxattr = wrapped('getxattr', ['str', 'str', 'void *', 'size_t'], ['ENODATA', 'ERANGE']);
/** setxattr(2): path, name, value, size, flags. */
export const setxattr = wrapped('setxattr', ['str', 'str', 'void *', 'size_t', 'int']);
/** removexattr(2): path, name. Returns -ENODATA as getxattr. */
export const removexattr = wrapped('removexattr', ['str', 'str'], ['ENODATA']);
/** fgetxattr(2): fd, name, buffer, size. Returns as getxattr, and -EBADF for an O_PATH fd. */
export const fgetxattr = wrapped('fgetxattr', ['int', 'str', 'void *', 'size_t'], ['ENODATA', 'ERANGE', 'EBADF']);
/** fsetxattr(2): fd, name, value, size, flags. Returns -EBADF for an O_PATH fd. */
export const fsetxattr = wrapped('fsetxattr', ['int', 'str', 'void *', 'size_t', 'int'], ['EBADF']);
/** fremovexattr(2): fd, name. Returns -ENODATA and -EBADF as fgetxattr. */
export const fremovexattr = wrapped('fremovexattr', ['int', 'str'], ['ENODATA', 'EBADF']);

/** poll(2): array of struct pollfd, their number, timeout in milliseconds. */
export const pollCall = wrapped('poll', ['void *', 'unsigned long', 'int']);
/** socket(2): domain, type, protocol. */
export const socketCall = wrapped('socket', ['int', 'int', 'int']);
/** bind(2): fd, address, its size. */
export const bindCall = wrapped('bind', ['int', 'void *', 'unsigned int']);
/** listen(2): fd, backlog. */
export const listenCall = wrapped('listen', ['int', 'int']);
/** getsockname(2): fd, address, its size (a buffer of four bytes). */
export const getsockname = wrapped('getsockname', ['int', 'void *', 'void *']);
/** getsockopt(2): fd, level, name, value, size (a buffer of four bytes). */
export const getsockoptCall = wrapped('getsockopt', ['int', 'int', 'int', 'void *', 'void *']);
/** sendmsg(2): fd, struct msghdr, flags. Returns -EAGAIN where MSG_DONTWAIT finds no room. */
export const sendmsg = wrapped('sendmsg', ['int', 'void *', 'int'], ['EAGAIN']);
/** inet_pton(3): family, text, the address (a buffer of 4 or 16 bytes). Returns 0 where the text is none. */
export const inetPton = wrapped('inet_pton', ['int', 'str', 'void *']);
/** fcntl(2) with one number as its argument. */
export const fcntl = wrapped('fcntl', ['int', 'int', 'int']);
/** connect(2): fd, address, its size. */
export const connectCall = wrapped('connect', ['int', 'void *', 'unsigned int']);
/** setsockopt(2): fd, level, name, value, size. */
export const setsockopt = wrapped('setsockopt', ['int', 'int', 'int', 'void *', 'unsigned int']);
/** setsockopt(2) and getsockopt(2), on a thread of the pool: fd, level, name, value, size (for getsockopt a buffer of four bytes). */
export const setsockoptBlocking = blocking('setsockopt', ['int', 'int', 'int', 'void *', 'unsigned int']);
export const getsockoptBlocking = blocking('getsockopt', ['int', 'int', 'int', 'void *', 'void *']);
/** read(2) and write(2), on a thread of the pool: fd, buffer, size. */
export const readBlocking = blocking('read', ['int', 'void *', 'size_t']);
export const writeBlocking = blocking('write', ['int', 'void *', 'size_t']);
/** sendto(2), on a thread of the pool: fd, data, size, flags, address, its size. */
export const sendtoBlocking = blocking('sendto', ['int', 'void *', 'size_t', 'int', 'void *', 'unsigned int']);
/** recvfrom(2), on a thread of the pool: fd, buffer, size, flags, address, its size (a buffer of four bytes). */
export const recvfromBlocking = blocking('recvfrom', ['int', 'void *', 'size_t', 'int', 'void *', 'void *']);

/** Flags of open(2). O_DIRECTORY and O_NOFOLLOW differ between architectures: node:fs knows them. */
export const O = {
  PATH: 0o10000000,
  CLOEXEC: 0o2000000,
  CREAT: constants.O_CREAT,
  EXCL: constants.O_EXCL,
  DIRECTORY: constants.O_DIRECTORY,
  NOFOLLOW: constants.O_NOFOLLOW,
  NONBLOCK: constants.O_NONBLOCK,
  RDONLY: constants.O_RDONLY,
  RDWR: constants.O_RDWR,
  WRONLY: constants.O_WRONLY,
} as const;

/** Resolve flags of openat2(2), include/uapi/linux/openat2.h. */
export const RESOLVE = { NO_XDEV: 0x01, NO_MAGICLINKS: 0x02, NO_SYMLINKS: 0x04, BENEATH: 0x08, CACHED: 0x20 } as const;

/** include/uapi/linux/fcntl.h. */
export const AT = {
  FDCWD: -100,
  SYMLINK_NOFOLLOW: 0x100,
  REMOVEDIR: 0x200,
  NO_AUTOMOUNT: 0x800,
  EMPTY_PATH: 0x1000,
  STATX_DONT_SYNC: 0x4000,
  RECURSIVE: 0x8000,
} as const;
