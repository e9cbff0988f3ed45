import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import koffi from 'koffi';
import { bindCall, O, socketCall } from '../../src/linux/libc.ts';
import { AF_UNIX, unixAddress } from '../../src/linux/unix-address.ts';

const SOCK_DGRAM = 2;
const MSG_CMSG_CLOEXEC = 0x40000000;
/** struct msghdr and struct cmsghdr on 64-bit Linux. */
const MSGHDR_SIZE = 56;
const CMSG_DATA = 16;
const MAX_TEXT = 4096;
const MAX_CONTROL = 256;
const POLL_MS = 5;

const recvmsg = koffi.load('libc.so.6').func('long recvmsg(int fd, void *message, int flags)');

/**
 * Plays systemd's side of sd_notify(3) and of its file descriptor store: hears what a service says, keeps what it hands over,
 * and gives it to the next process as sd_listen_fds(3) has it. With `keeps: false` it is deaf to FDSTORE.
 */
export class PlayedServiceManager implements Disposable {
  readonly path: string;
  /** What was said, in order, without what concerns the store. */
  readonly said: string[] = [];
  /** What is kept, by name. */
  readonly kept = new Map<string, number>();
  readonly #fd: number;
  readonly #timer: NodeJS.Timeout;

  /** @param path where it hears; nothing may be there */
  constructor(path: string) {
    this.path = path;
    this.#fd = socketCall(path, AF_UNIX, SOCK_DGRAM | O.CLOEXEC | O.NONBLOCK, 0);
    const address = unixAddress(path);
    bindCall(path, this.#fd, address, address.length);
    this.#timer = setInterval(() => this.#hear(), POLL_MS);
  }

  /** What systemd tells a process that it has started, here this one. */
  get environment(): Readonly<Record<string, string>> {
    return { NOTIFY_SOCKET: this.path, SYSTEMD_EXEC_PID: String(process.pid) };
  }

  /** Starts a process of the service, with what is kept. @param watchdogMs how often it has to say that it lives */
  start(command: readonly string[], { watchdogMs }: { watchdogMs?: number } = {}): ChildProcess {
    const kept = [...this.kept];
    const env: NodeJS.ProcessEnv = { ...process.env, NOTIFY_SOCKET: this.path };
    if (watchdogMs !== undefined) env['WATCHDOG_USEC'] = String(watchdogMs * 1000);
    if (kept.length > 0) {
      env['LISTEN_FDS'] = String(kept.length);
      env['LISTEN_FDNAMES'] = kept.map(([name]) => name).join(':');
    }
    // The shell knows the pid that the program will have.
    return spawn('/bin/sh', ['-c', 'export LISTEN_PID=$$ SYSTEMD_EXEC_PID=$$; exec "$@"', 'sh', ...command], {
      env,
      stdio: ['ignore', 'pipe', 'pipe', ...kept.map(([, fd]) => fd)],
    });
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    closeSync(this.#fd);
    for (const fd of this.kept.values()) closeSync(fd);
    this.kept.clear();
  }

  #hear(): void {
    for (let message = this.#receive(); message; message = this.#receive()) {
      const lines = message.text.split('\n');
      const value = (key: string) => lines.find((line) => line.startsWith(`${key}=`))?.slice(key.length + 1);
      const name = value('FDNAME') ?? 'stored';
      if (value('FDSTORE') === '1') {
        for (const fd of message.fds) this.#keep(name, fd);
      } else if (value('FDSTOREREMOVE') === '1') this.#drop(name);
      else this.said.push(...lines);
    }
  }

  #keep(name: string, fd: number): void {
    this.#drop(name);
    this.kept.set(name, fd);
  }

  #drop(name: string): void {
    const fd = this.kept.get(name);
    if (fd !== undefined) closeSync(fd);
    this.kept.delete(name);
  }

  #receive(): { text: string; fds: number[] } | undefined {
    const whole = Buffer.alloc(MSGHDR_SIZE + 16 + MAX_CONTROL + MAX_TEXT);
    const start = BigInt(koffi.address(whole));
    const [iov, control, text] = [MSGHDR_SIZE, MSGHDR_SIZE + 16, MSGHDR_SIZE + 16 + MAX_CONTROL];
    whole.writeBigUInt64LE(start + BigInt(iov), 16);
    whole.writeBigUInt64LE(1n, 24);
    whole.writeBigUInt64LE(start + BigInt(control), 32);
    whole.writeBigUInt64LE(BigInt(MAX_CONTROL), 40);
    whole.writeBigUInt64LE(start + BigInt(text), iov);
    whole.writeBigUInt64LE(BigInt(MAX_TEXT), iov + 8);
    const length = Number(recvmsg(this.#fd, whole, MSG_CMSG_CLOEXEC));
    if (length < 0) return undefined;
    const fds: number[] = [];
    if (whole.readBigUInt64LE(40) > 0n) {
      const end = control + Number(whole.readBigUInt64LE(control));
      for (let at = control + CMSG_DATA; at < end; at += 4) fds.push(whole.readInt32LE(at));
    }
    return { text: whole.toString('utf8', text, text + length), fds };
  }
}
