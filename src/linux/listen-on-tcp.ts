import { bindCall, closeFd, inetPton, listenCall, O, setsockopt, socketCall } from './libc.ts';

/** include/linux/socket.h and include/linux/net.h. */
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
/** Options of SOL_SOCKET, include/uapi/asm-generic/socket.h. */
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;

/**
 * Makes a TCP socket listen. Node's own listen gives nobody the descriptor, without which nobody can stop accepting for a
 * while and keep the port.
 * @param ip an IPv4 or IPv6 address
 * @param backlog how many may wait that are not accepted
 * @returns the file descriptor, close-on-exec
 * @throws SyscallError
 */
export function listenOnTcp(ip: string, port: number, backlog: number): number {
  const what = `${ip} port ${port}`;
  const address = socketAddress(ip, port);
  const fd = socketCall(what, address.readUInt16LE(0), SOCK_STREAM | O.CLOEXEC | O.NONBLOCK, 0);
  try {
    const on = Buffer.alloc(4);
    on.writeInt32LE(1);
    setsockopt(what, fd, SOL_SOCKET, SO_REUSEADDR, on, on.length);
    bindCall(what, fd, address, address.length);
    listenCall(what, fd, backlog);
    return fd;
  } catch (error) {
    closeFd(what, fd);
    throw error;
  }
}

/** struct sockaddr_in, ip(7), or sockaddr_in6, ipv6(7): family, port, (flow information), address, (scope). */
function socketAddress(ip: string, port: number): Buffer {
  const isV6 = ip.includes(':');
  const address = Buffer.alloc(isV6 ? 28 : 16);
  address.writeUInt16LE(isV6 ? AF_INET6 : AF_INET, 0);
  address.writeUInt16BE(port, 2);
  inetPton(ip, isV6 ? AF_INET6 : AF_INET, ip, address.subarray(isV6 ? 8 : 4));
  return address;
}
