import { NotYetError, ParseError } from '../../errors.ts';
import { Handle } from '../handle.ts';
import { connectCall, recvfromBlocking, type SyscallError, sendtoBlocking, setsockopt, socketCall } from '../libc.ts';
import { decodeMessages, encodeMessage } from './netlink-message.ts';
import { errorIn, NLM_F } from './netlink-protocol.ts';
import { inNetworkNamespace } from './network-namespace.ts';
import { inTurn, whileHolding } from './networks-lock.ts';

/** include/linux/socket.h, include/uapi/asm-generic/socket.h; x86_64 and arm64 agree. */
const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 0o2000003;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
/** include/uapi/linux/netlink.h. */
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
/** struct sockaddr_nl: family (u16), padding, port (u32), groups (u32). */
const ADDRESS_SIZE = 12;
const KERNEL = Buffer.alloc(ADDRESS_SIZE);
KERNEL.writeUInt16LE(AF_NETLINK);

/** The kernel gives at most 32 KiB of a dump at once (netlink_recvmsg). */
const RECEIVE_SIZE = 64 * 1024;
const BUFFER_SIZE = 4 * 1024 * 1024;
/** Nothing sent here is slower, other than what waits its turn for the kernel's lock: seconds are a kernel in trouble. */
const TIMEOUT_SECONDS = 30n;
/** A user can fill the user's own namespace with any number of routes: they must not fill our memory, nor our time. */
const MOST_DUMPED = { messages: 2000, bytes: 1024 * 1024 } as const;
/** The kernel answers all that is sent at once before we read one answer. */
const MOST_AT_ONCE = 256;

/** A request to send; `what` says for an error what it was to do. */
export interface NetlinkRequest {
  readonly type: number;
  readonly flags?: number;
  readonly payload: Buffer;
  readonly what: string;
}

/**
 * A netlink socket in a network namespace, for requests and dumps, to be used one at a time. The calls to the kernel run on a
 * thread of the pool: they wait for the lock of the whole kernel's networks, which others hold for long.
 *
 * A user who owns the namespace could send messages to this socket too, and so keep it full, and us busy, for as long as
 * she likes. It is connected to port 0, the kernel, and takes from nobody else (netlink_getsockbyportid).
 */
export class NetlinkSocket implements Disposable {
  readonly #socket: Handle;
  readonly #received = {
    bytes: Buffer.allocUnsafeSlow(RECEIVE_SIZE),
    address: Buffer.alloc(ADDRESS_SIZE),
    size: Buffer.alloc(4),
  };
  #sequence = 0;

  private constructor(socket: Handle) {
    this.#socket = socket;
  }

  /** @param protocol one of NETLINK @throws SyscallError (EPROTONOSUPPORT where the kernel has no such protocol) */
  static open(netns: Handle, protocol: number): NetlinkSocket {
    const path = `netlink in ${netns.path}`;
    const fd = inNetworkNamespace(netns, () => socketCall(path, AF_NETLINK, SOCK_RAW_CLOEXEC, protocol));
    const socket = new Handle(fd, path);
    try {
      setOption(socket, SOL_NETLINK, NETLINK_CAP_ACK, 1);
      setOption(socket, SOL_NETLINK, NETLINK_EXT_ACK, 1);
      setOption(socket, SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_SIZE);
      setOption(socket, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_SIZE);
      const timeout = Buffer.alloc(16);
      timeout.writeBigInt64LE(TIMEOUT_SECONDS);
      setsockopt(path, fd, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.length);
      connectCall(path, fd, KERNEL, KERNEL.length);
    } catch (error) {
      socket.close();
      throw error;
    }
    return new NetlinkSocket(socket);
  }

  /**
   * Sends requests at once; the kernel does them one after another, also those behind one that fails.
   * @returns for each request the error, or undefined where it was done
   * @throws SyscallError where it could not even ask
   */
  request(requests: readonly NetlinkRequest[]): Promise<(SyscallError | undefined)[]> {
    if (requests.length === 0) return Promise.resolve([]);
    return inTurn(() => this.#requestInParts(requests));
  }

  async #requestInParts(requests: readonly NetlinkRequest[]): Promise<(SyscallError | undefined)[]> {
    const results: (SyscallError | undefined)[] = [];
    while (results.length < requests.length) {
      results.push(...(await this.#request(requests.slice(results.length, results.length + MOST_AT_ONCE))));
    }
    return results;
  }

  async #request(requests: readonly NetlinkRequest[]): Promise<(SyscallError | undefined)[]> {
    const first = this.#sequence + 1;
    await this.#send(requests.map((one) => this.#encode(one, NLM_F.REQUEST | NLM_F.ACK)));
    const results = new Map<number, SyscallError | undefined>();
    while (results.size < requests.length) {
      for (const { type, flags, sequence, payload } of await this.#receive()) {
        const request = requests[sequence - first];
        if (type === NLMSG_ERROR && request) results.set(sequence, errorIn(payload, flags, request.what));
      }
    }
    return requests.map((_, at) => results.get(first + at));
  }

  /** Like request, for requests of which none may fail. @throws the first error */
  async demand(requests: readonly NetlinkRequest[]): Promise<void> {
    throwFirst(await this.request(requests));
  }

  /** Like demand, for what holds the lock of the kernel's networks for long: moves of links. @throws as demand */
  async demandWhileHolding(requests: readonly NetlinkRequest[]): Promise<void> {
    if (requests.length > 0) throwFirst(await whileHolding(() => this.#requestInParts(requests)));
  }

  /**
   * Sends a batch of nfnetlink: all or nothing. Errors come in the order of the requests, and before the acknowledgement
   * of the last one.
   * @throws the first error
   */
  demandBatch(begin: NetlinkRequest, requests: readonly NetlinkRequest[], end: NetlinkRequest): Promise<void> {
    return inTurn(() => this.#demandBatch(begin, requests, end));
  }

  async #demandBatch(begin: NetlinkRequest, requests: readonly NetlinkRequest[], end: NetlinkRequest): Promise<void> {
    const first = this.#sequence + 2;
    const last = first + requests.length - 1;
    const flagsOf = (at: number) => NLM_F.REQUEST | (first + at === last ? NLM_F.ACK : 0);
    const encoded = [
      this.#encode(begin, NLM_F.REQUEST),
      ...requests.map((one, at) => this.#encode(one, flagsOf(at))),
      this.#encode(end, NLM_F.REQUEST),
    ];
    await this.#send(encoded);
    for (;;) {
      for (const { type, flags, sequence, payload } of await this.#receive()) {
        if (type !== NLMSG_ERROR) continue;
        const error = errorIn(payload, flags, (requests[sequence - first] ?? end).what);
        if (error) throw error;
        if (sequence === last) return;
      }
    }
  }

  /**
   * Asks for all there is of something.
   * @returns the payloads of the answers
   * @throws SyscallError; NotYetError `dump_interrupted` where it changed meanwhile, `network_too_large`
   */
  dump(request: NetlinkRequest): Promise<{ type: number; payload: Buffer }[]> {
    return inTurn(() => this.#dump(request));
  }

  async #dump({ type, flags = 0, payload, what }: NetlinkRequest): Promise<{ type: number; payload: Buffer }[]> {
    const sequence = this.#sequence + 1;
    await this.#send([this.#encode({ type, flags, payload, what }, NLM_F.REQUEST | NLM_F.DUMP)]);
    const found: { type: number; payload: Buffer }[] = [];
    let size = 0;
    for (;;) {
      for (const message of await this.#receive()) {
        if (message.sequence !== sequence) continue;
        if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
          const error = message.payload.length >= 4 ? errorIn(message.payload, 0, what) : undefined;
          if (error) throw error;
          return found;
        }
        if (message.flags & NLM_F.DUMP_INTR) throw new NotYetError('dump_interrupted', `${what}: changed meanwhile`);
        size += message.payload.length;
        found.push({ type: message.type, payload: Buffer.from(message.payload) });
        const { messages, bytes } = MOST_DUMPED;
        if (found.length <= messages && size <= bytes) continue;
        throw new NotYetError('network_too_large', `${what}: more than ${messages}, or than ${bytes} bytes`);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  #encode({ type, flags = 0, payload }: NetlinkRequest, more: number): Buffer {
    this.#sequence += 1;
    return encodeMessage({ type, flags: flags | more, sequence: this.#sequence, payload });
  }

  async #send(messages: readonly Buffer[]): Promise<void> {
    const bytes = Buffer.concat(messages);
    const { path, fd } = this.#socket;
    const sent = await sendtoBlocking(path, fd, bytes, bytes.length, 0, null, 0);
    if (sent !== bytes.length) throw new ParseError(path, `${bytes.length} bytes sent`, String(sent));
  }

  async #receive() {
    for (;;) {
      const { path, fd } = this.#socket;
      const { bytes, address, size } = this.#received;
      size.writeUInt32LE(ADDRESS_SIZE);
      const length = await recvfromBlocking(path, fd, bytes, RECEIVE_SIZE, 0, address, size);
      if (address.readUInt32LE(4) === 0) return decodeMessages(bytes.subarray(0, length));
    }
  }
}

function throwFirst(errors: readonly (SyscallError | undefined)[]): void {
  const error = errors.find((one) => one !== undefined);
  if (error) throw error;
}

function setOption({ path, fd }: Handle, level: number, name: number, number: number): void {
  const value = Buffer.alloc(4);
  value.writeInt32LE(number);
  setsockopt(path, fd, level, name, value, value.length);
}
