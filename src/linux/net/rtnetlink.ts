import { type Attribute, attributeOf, decodeAttributes, encodeAttributes, textOf } from './netlink-message.ts';
import { CREATE } from './netlink-protocol.ts';
import type { NetlinkRequest, NetlinkSocket } from './netlink-socket.ts';

/** Message types, include/uapi/linux/rtnetlink.h. */
const RTM = {
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
  NEWRULE: 32,
  DELRULE: 33,
  GETRULE: 34,
  GETQDISC: 38,
  GETADDRLABEL: 74,
  GETNEXTHOP: 106,
} as const;

/** include/linux/socket.h. */
export const AF = { INET: 2, INET6: 10 } as const;

/** Something that rtnetlink dumps and takes back in the same form. */
export interface NetlinkObject {
  readonly header: Buffer;
  readonly attributes: readonly Attribute[];
}

interface ObjectType {
  readonly name: string;
  readonly get: number;
  readonly make: number;
  readonly remove: number;
  readonly headerSize: number;
  readonly makeFlags: number;
}

/** What lies on links, with the size of its header: struct ifaddrmsg, rtmsg, fib_rule_hdr, ndmsg. */
export const OBJECT = {
  address: objectType('address', [RTM.GETADDR, RTM.NEWADDR, RTM.DELADDR], 8, CREATE.CREATE | CREATE.EXCL),
  route: objectType('route', [RTM.GETROUTE, RTM.NEWROUTE, RTM.DELROUTE], 12, CREATE.CREATE | CREATE.APPEND),
  rule: objectType('rule', [RTM.GETRULE, RTM.NEWRULE, RTM.DELRULE], 12, CREATE.CREATE | CREATE.EXCL),
  neighbour: objectType('neighbour', [RTM.GETNEIGH, RTM.NEWNEIGH, RTM.DELNEIGH], 12, CREATE.CREATE | CREATE.REPLACE),
} as const;

function objectType(
  name: string,
  [get, make, remove]: readonly [number, number, number],
  headerSize: number,
  makeFlags: number,
): ObjectType {
  return { name, get, make, remove, headerSize, makeFlags };
}

/**
 * All objects of a type, of all protocol families.
 * @param flags of the header's own, such as NTF_PROXY; @throws as NetlinkSocket.dump, ParseError
 */
export async function readObjects(
  socket: NetlinkSocket,
  type: ObjectType,
  header: Buffer = Buffer.alloc(type.headerSize),
): Promise<NetlinkObject[]> {
  const dumped = await socket.dump({ type: type.get, payload: header, what: `listing every ${type.name}` });
  return dumped
    .filter((message) => message.type === type.make)
    .map(({ payload }) => ({
      header: payload.subarray(0, type.headerSize),
      attributes: decodeAttributes(payload.subarray(type.headerSize)),
    }));
}

/** The request that makes an object. */
export function toMake(type: ObjectType, object: NetlinkObject, what: string): NetlinkRequest {
  return { type: type.make, flags: type.makeFlags, payload: payloadOf(object), what: `adding ${what}` };
}

/** The request that takes an object away. */
export function toRemove(type: ObjectType, object: NetlinkObject, what: string): NetlinkRequest {
  return { type: type.remove, payload: payloadOf(object), what: `removing ${what}` };
}

function payloadOf({ header, attributes }: NetlinkObject): Buffer {
  return Buffer.concat([header, encodeAttributes(attributes)]);
}

/** Queueing disciplines that somebody has put on a link: the kernel's own have no handle. */
export async function readQueueingDisciplines(socket: NetlinkSocket): Promise<{ index: number; kind: string }[]> {
  // struct tcmsg: family and padding, index, handle, parent, info; attribute TCA_KIND is 1, include/uapi/linux/rtnetlink.h.
  const size = 20;
  const dumped = await socket.dump({ type: RTM.GETQDISC, payload: Buffer.alloc(size), what: 'listing qdiscs' });
  return dumped
    .filter(({ payload }) => payload.readUInt32LE(8) !== 0)
    .map(({ payload }) => {
      const kind = attributeOf(decodeAttributes(payload.subarray(size)), 1);
      return { index: payload.readInt32LE(4), kind: kind ? textOf(kind) : '?' };
    });
}

/** How many nexthop objects there are, ip-nexthop(8). Kernels before 5.3 know none. */
export async function countNexthops(socket: NetlinkSocket): Promise<number> {
  // struct nhmsg has 8 bytes, include/uapi/linux/nexthop.h.
  return (await socket.dump({ type: RTM.GETNEXTHOP, payload: Buffer.alloc(8), what: 'listing nexthops' })).length;
}

/** The address labels, ip-addrlabel(8), as a text to compare. */
export async function readAddressLabels(socket: NetlinkSocket): Promise<string> {
  // struct ifaddrlblmsg: family, reserved, prefix length, flags, index, sequence number (12 bytes), if_addrlabel.h.
  const header = Buffer.alloc(12);
  header[0] = AF.INET6;
  const dumped = await socket.dump({ type: RTM.GETADDRLABEL, payload: header, what: 'listing address labels' });
  const labels = dumped.map(({ payload }) => Buffer.concat([payload.subarray(0, 8), payload.subarray(12)]));
  return labels
    .map((label) => label.toString('hex'))
    .sort()
    .join(' ');
}
