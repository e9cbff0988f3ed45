import koffi from 'koffi';
import { ParseError } from '../errors.ts';
import { closeFd, connectCall, fcntl, O, sendmsg, socketCall } from './libc.ts';
import { AF_UNIX, SOCKADDR_UN_SIZE, unixAddress } from './unix-address.ts';

/** The first file descriptor that systemd passes: sd_listen_fds(3). */
const FIRST_FD = 3;
/** fcntl(2), include/uapi/asm-generic/fcntl.h. */
const F_SETFD = 2;
const FD_CLOEXEC = 1;
/** include/linux/socket.h, include/linux/net.h. */
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** struct msghdr and struct cmsghdr on 64-bit Linux: name, its length, iov, their number, control, its length, flags. */
const MSGHDR = { SIZE: 56, IOV: 16, IOV_COUNT: 24, CONTROL: 32, CONTROL_LENGTH: 40 } as const;
const CMSGHDR_SIZE = 16;
/** CMSG_SPACE of one file descriptor, and CMSG_LEN: cmsg(3). */
const CMSG_SPACE = 24;
const CMSG_LEN = CMSGHDR_SIZE + 4;
/** Where in our one buffer the parts lie behind struct msghdr: struct iovec, control, text. */
const IOV = MSGHDR.SIZE;
const CONTROL = IOV + 16;
const TEXT = CONTROL + CMSG_SPACE;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * What the service manager started us with and wants to hear: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).
 * Where there is none (a terminal, a Nomad job) nothing is said and nothing is kept.
 */
export class ServiceManager {
  readonly #socket: number | undefined;
  readonly #kept: Map<string, number>;
  /** How often it has to hear that we live, in milliseconds; undefined where it does not ask for that. */
  readonly watchdogMs: number | undefined;
  /** The directory that it has made for what outlives a reboot: StateDirectory= of systemd.exec(5). */
  readonly stateDirectory: string | undefined;

  /**
   * @param environment process.env at the start of the process; what is read of it is for this process only
   * @throws ParseError, SyscallError
   */
  constructor(environment: Environment) {
    const own = isOurs(environment) ? environment : {};
    this.#socket = connectTo(own['NOTIFY_SOCKET']);
    this.#kept = receive(own);
    this.watchdogMs = watchdogOf(own);
    this.stateDirectory = own['STATE_DIRECTORY'];
  }

  /** Whether it keeps file descriptors for us: without that, nothing of ours outlives us. */
  get keeps(): boolean {
    return this.#socket !== undefined;
  }

  /** Takes a file descriptor that was kept for us, which is ours to close from then on; undefined where there is none. */
  take(name: string): number | undefined {
    const fd = this.#kept.get(name);
    this.#kept.delete(name);
    return fd;
  }

  /** Closes all that nobody has taken, and has it kept no longer. */
  dropRest(): void {
    for (const [name, fd] of this.#kept) {
      closeFd(name, fd);
      this.forget(name);
    }
    this.#kept.clear();
  }

  /**
   * Says something of our state, as `STATUS=…` or `WATCHDOG=1`; lost where the manager does not keep up.
   * @throws SyscallError
   */
  notify(...assignments: readonly string[]): void {
    this.#send(assignments, undefined, MSG_DONTWAIT);
  }

  /** Says what the manager waits for, as `READY=1`, and waits until it has room for it. @throws SyscallError */
  announce(...assignments: readonly string[]): void {
    this.#send(assignments, undefined, 0);
  }

  /**
   * Has a file descriptor kept over our end, under this name: the next of us takes it. It is ours to close all the same.
   * @throws SyscallError
   */
  keep(name: string, fd: number): void {
    this.#send(['FDSTORE=1', `FDNAME=${name}`], fd, 0);
  }

  /** Has what was kept under this name closed. @throws SyscallError */
  forget(name: string): void {
    this.#send(['FDSTOREREMOVE=1', `FDNAME=${name}`], undefined, 0);
  }

  #send(assignments: readonly string[], fd: number | undefined, flags: number): void {
    if (this.#socket === undefined) return;
    const text = Buffer.from(assignments.join('\n'));
    // All that the header points to lies in the one buffer that is handed over, and so lives as long as the call.
    const message = Buffer.alloc(TEXT + text.length);
    const start = BigInt(koffi.address(message));
    message.writeBigUInt64LE(start + BigInt(IOV), MSGHDR.IOV);
    message.writeBigUInt64LE(1n, MSGHDR.IOV_COUNT);
    message.writeBigUInt64LE(start + BigInt(TEXT), IOV);
    message.writeBigUInt64LE(BigInt(text.length), IOV + 8);
    text.copy(message, TEXT);
    if (fd !== undefined) {
      message.writeBigUInt64LE(start + BigInt(CONTROL), MSGHDR.CONTROL);
      message.writeBigUInt64LE(BigInt(CMSG_SPACE), MSGHDR.CONTROL_LENGTH);
      message.writeBigUInt64LE(BigInt(CMSG_LEN), CONTROL);
      message.writeInt32LE(SOL_SOCKET, CONTROL + 8);
      message.writeInt32LE(SCM_RIGHTS, CONTROL + 12);
      message.writeInt32LE(fd, CONTROL + CMSGHDR_SIZE);
    }
    sendmsg('NOTIFY_SOCKET', this.#socket, message, flags | MSG_NOSIGNAL);
  }
}

/**
 * Whether systemd has started this very process. A task of raw_exec inherits the environment of nomad.service: what is
 * said there is said to Nomad. Before version 248 systemd does not say whom it has started.
 */
function isOurs({ SYSTEMD_EXEC_PID: pid }: Environment): boolean {
  return pid === undefined ? process.ppid === 1 : pid === String(process.pid);
}

function connectTo(path: string | undefined): number | undefined {
  if (!path) return undefined;
  const address = unixAddress(path);
  if (!/^[/@]/.test(path) || address.length > SOCKADDR_UN_SIZE) {
    throw new ParseError('NOTIFY_SOCKET', 'the path of a unix socket, or @ and an abstract name', JSON.stringify(path));
  }
  const socket = socketCall(path, AF_UNIX, SOCK_DGRAM | O.CLOEXEC, 0);
  connectCall(path, socket, address, address.length);
  return socket;
}

/** What was kept, by name. A name that comes twice counts once, the last. */
function receive(environment: Environment): Map<string, number> {
  const kept = new Map<string, number>();
  const { LISTEN_PID: pid, LISTEN_FDS: fds } = environment;
  if (pid !== String(process.pid) || fds === undefined) return kept;
  const count = wholeNumber('LISTEN_FDS', fds);
  const names = (environment['LISTEN_FDNAMES'] ?? '').split(':');
  for (let index = 0; index < count; index++) {
    const fd = FIRST_FD + index;
    const name = names[index] ?? 'unknown';
    // Passed for us alone: no child of ours may inherit a gate.
    fcntl(name, fd, F_SETFD, FD_CLOEXEC);
    const before = kept.get(name);
    if (before !== undefined) closeFd(name, before);
    kept.set(name, fd);
  }
  return kept;
}

function watchdogOf(environment: Environment): number | undefined {
  const { WATCHDOG_USEC: usec, WATCHDOG_PID: pid } = environment;
  if (usec === undefined || (pid !== undefined && pid !== String(process.pid))) return undefined;
  return wholeNumber('WATCHDOG_USEC', usec) / 1000;
}

function wholeNumber(name: string, text: string): number {
  if (/^[0-9]{1,15}$/.test(text)) return Number(text);
  throw new ParseError(name, 'a whole number, as systemd sets it', JSON.stringify(text));
}
