import { failedWith } from '../../errors.ts';
import type { Handle } from '../handle.ts';
import { NETLINK } from './netlink-protocol.ts';
import { NetlinkSocket } from './netlink-socket.ts';

/**
 * include/uapi/linux/xfrm.h. A dump is asked for without the header that asks for one of them: of states the kernel takes
 * what comes behind the message's own header for attributes (xfrm_dump_sa in net/xfrm/xfrm_user.c).
 */
const XFRM_MSG = { GETSA: 0x12, GETPOLICY: 0x15 } as const;

/** Whether a network namespace has states or policies of IPsec, ip-xfrm(8). @throws as NetlinkSocket.dump */
export async function hasIpsec(netns: Handle): Promise<boolean> {
  using socket = openSocket(netns);
  if (!socket) return false;
  for (const type of [XFRM_MSG.GETSA, XFRM_MSG.GETPOLICY]) {
    const found = await socket.dump({ type, payload: Buffer.alloc(0), what: 'listing IPsec' });
    if (found.length > 0) return true;
  }
  return false;
}

/** Undefined where the kernel has no IPsec. */
function openSocket(netns: Handle): NetlinkSocket | undefined {
  try {
    return NetlinkSocket.open(netns, NETLINK.XFRM);
  } catch (error) {
    if (failedWith(error, 'EPROTONOSUPPORT')) return undefined;
    throw error;
  }
}
