import type { Handle } from '../handle.ts';
import { SyscallError } from '../libc.ts';
import { NETLINK } from './netlink-protocol.ts';
import { NetlinkSocket } from './netlink-socket.ts';

/** include/uapi/linux/xfrm.h: message types, and the size of the header that asks for one of them. */
const GET_STATE = { type: 0x12, size: 24 } as const;
const GET_POLICY = { type: 0x15, size: 64 } as const;

/** Whether a network namespace has states or policies of IPsec, ip-xfrm(8). @throws as NetlinkSocket.dump */
export async function hasIpsec(netns: Handle): Promise<boolean> {
  using socket = openSocket(netns);
  if (!socket) return false;
  for (const { type, size } of [GET_STATE, GET_POLICY]) {
    const found = await socket.dump({ type, payload: Buffer.alloc(size), what: 'listing IPsec' });
    if (found.length > 0) return true;
  }
  return false;
}

/** Undefined where the kernel has no IPsec. */
function openSocket(netns: Handle): NetlinkSocket | undefined {
  try {
    return NetlinkSocket.open(netns, NETLINK.XFRM);
  } catch (error) {
    if (error instanceof SyscallError && error.is('EPROTONOSUPPORT')) return undefined;
    throw error;
  }
}
