import { SyscallError } from '../libc.ts';
import { attributeOf, decodeAttributes, textOf } from './netlink-message.ts';

/** Protocols of netlink, include/uapi/linux/netlink.h. */
export const NETLINK = { ROUTE: 0, XFRM: 6, NETFILTER: 12 } as const;

/** More flags of a request that makes something, include/uapi/linux/netlink.h. */
export const CREATE = { REPLACE: 0x100, EXCL: 0x200, CREATE: 0x400, APPEND: 0x800 } as const;

/** Flags of any message, include/uapi/linux/netlink.h. */
export const NLM_F = { REQUEST: 0x01, ACK: 0x04, DUMP_INTR: 0x10, DUMP: 0x300, ACK_TLVS: 0x200 } as const;

/** struct nlmsgerr: an errno (i32) and the header of the request (16 bytes). */
const NLMSGERR_SIZE = 20;
const NLMSGERR_ATTR_MSG = 1;

/** What a struct nlmsgerr says; undefined for an acknowledgement. The kernel's own words are behind it, where it has any. */
export function errorIn(payload: Buffer, flags: number, what: string): SyscallError | undefined {
  const errno = -payload.readInt32LE(0);
  if (errno === 0) return undefined;
  const words =
    flags & NLM_F.ACK_TLVS
      ? attributeOf(decodeAttributes(payload.subarray(NLMSGERR_SIZE)), NLMSGERR_ATTR_MSG)
      : undefined;
  return new SyscallError('netlink', errno, words ? `${what} (${textOf(words)})` : what);
}
