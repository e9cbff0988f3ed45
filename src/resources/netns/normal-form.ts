import { type Attribute, attributeOf, encodeAttributes, typeOf } from '../../linux/net/netlink-message.ts';
import { AF, type NetlinkObject, type OBJECT } from '../../linux/net/rtnetlink.ts';

/** The kinds of object that a network has beside its links. */
export type ObjectKind = keyof typeof OBJECT;

/** Address attributes and flags, include/uapi/linux/if_addr.h. */
const IFA = { ADDRESS: 1, CACHEINFO: 6, FLAGS: 8 } as const;
/** TENTATIVE, DADFAILED, DEPRECATED and STABLE_PRIVACY say how an address fares or came to be, not what it is to be. */
const PASSING_ADDRESS_FLAGS = 0x40 | 0x08 | 0x20 | 0x800;
/** Route attributes and flags, include/uapi/linux/rtnetlink.h. */
const RTA = { DST: 1, MULTIPATH: 9, CACHEINFO: 12 } as const;
const RTPROT = { REDIRECT: 1, KERNEL: 2, RA: 9 } as const;
const RT_TABLE_LOCAL = 255;
const RTM_F_CLONED = 0x200;
/** RTNH_F_DEAD, _OFFLOAD, _LINKDOWN, _UNRESOLVED, _TRAP: the state of the route, not the route. */
const PASSING_ROUTE_FLAGS = 0x01 | 0x08 | 0x10 | 0x20 | 0x40;
/** struct rtnexthop: length (u16), flags, hops (u8), index (i32). */
const NEXTHOP_SIZE = 8;
/** FIB_RULE_UNRESOLVED, _IIF_DETACHED, _OIF_DETACHED, include/uapi/linux/fib_rules.h: set by the kernel. */
const PASSING_RULE_FLAGS = 0x04 | 0x08 | 0x10;
/** Neighbour attributes, states and flags, include/uapi/linux/neighbour.h. */
const NDA = { CACHEINFO: 3, PROBES: 4 } as const;
const NUD_PERMANENT = 0x80;
const NTF_PROXY = 0x08;
const FOREVER = 0xffffffff;

/**
 * Whether an object is part of what a network is to be. Not part of it: what the kernel learns by itself (neighbours
 * that are not permanent, routes that routers announce, its cache of routes), and what is of another protocol family.
 */
export function isCarried(kind: ObjectKind, { header }: NetlinkObject): boolean {
  const family = header[0];
  if (family !== AF.INET && family !== AF.INET6) return false;
  switch (kind) {
    case 'address':
    case 'rule':
      return true;
    case 'route':
      return (header.readUInt32LE(8) & RTM_F_CLONED) === 0 && header[5] !== RTPROT.RA && header[5] !== RTPROT.REDIRECT;
    case 'neighbour':
      return (header.readUInt16LE(8) & NUD_PERMANENT) !== 0 || isProxy(header);
  }
}

/**
 * Whether an object comes by itself with an IPv6 link: its link-local address, and the routes to it. They are the same
 * on the other side where they are made of the MAC address, and others where the kernel makes them at random.
 */
export function isOfLinkLocal(kind: ObjectKind, { header, attributes }: NetlinkObject): boolean {
  if (header[0] !== AF.INET6) return false;
  if (kind === 'address') return isLinkLocal(attributeOf(attributes, IFA.ADDRESS));
  return kind === 'route' && header[5] === RTPROT.KERNEL && isLinkLocal(attributeOf(attributes, RTA.DST));
}

/** Whether the kernel makes an object by itself with the addresses of a link: what it delivers to this host. */
export function comesWithAddress(kind: ObjectKind, { header, attributes }: NetlinkObject): boolean {
  return kind === 'route' && header[5] === RTPROT.KERNEL && tableOf(header, attributes) === RT_TABLE_LOCAL;
}

/** An object without what changes from one look to the next, in a form that the kernel takes back. */
export function normalForm(kind: ObjectKind, object: NetlinkObject): NetlinkObject {
  const header = Buffer.from(object.header);
  switch (kind) {
    case 'address':
      header[2] = 0; // the lower flags once more
      return { header, attributes: object.attributes.flatMap(normalAddressAttribute) };
    case 'route':
      header.writeUInt32LE((header.readUInt32LE(8) & ~PASSING_ROUTE_FLAGS) >>> 0, 8);
      return { header, attributes: object.attributes.flatMap(normalRouteAttribute) };
    case 'rule':
      header.writeUInt32LE((header.readUInt32LE(8) & ~PASSING_RULE_FLAGS) >>> 0, 8);
      return { header, attributes: object.attributes };
    case 'neighbour':
      if (!isProxy(header)) header.writeUInt16LE(NUD_PERMANENT, 8);
      return { header, attributes: without(object.attributes, NDA.CACHEINFO, NDA.PROBES) };
  }
}

/** A text that is the same for two objects that are the same. Of a lifetime it says only whether it ends. */
export function keyOf(kind: ObjectKind, object: NetlinkObject): string {
  const { header, attributes } = normalForm(kind, object);
  const compared = attributes.map((one): Attribute => {
    if (kind !== 'address' || typeOf(one) !== IFA.CACHEINFO) return one;
    return { type: one.type, value: Buffer.from(one.value.subarray(0, 8).map(limited)) };
  });
  const sorted = compared.sort((a, b) => typeOf(a) - typeOf(b));
  return `${kind} ${header.toString('hex')} ${encodeAttributes(sorted).toString('hex')}`;
}

/** For people: `IPv4 route 10.0.0.0/8 in table 254`. */
export function describe(kind: ObjectKind, { header, attributes }: NetlinkObject): string {
  const family = header[0] === AF.INET ? 'IPv4' : 'IPv6';
  const destination = { address: IFA.ADDRESS, route: RTA.DST, rule: RTA.DST, neighbour: RTA.DST }[kind];
  const value = attributeOf(attributes, destination);
  const shown = value ? formatAddress(value) : 'default';
  if (kind === 'route') return `${family} route ${shown}/${header[1]} in table ${tableOf(header, attributes)}`;
  if (kind === 'rule') return `${family} rule to table ${tableOf(header, attributes)}`;
  return kind === 'address' ? `${family} address ${shown}/${header[1]}` : `${family} neighbour ${shown}`;
}

function normalAddressAttribute(attribute: Attribute): Attribute[] {
  const { type, value } = attribute;
  if (typeOf(attribute) === IFA.FLAGS) {
    const flags = Buffer.alloc(4);
    flags.writeUInt32LE((value.readUInt32LE(0) & ~PASSING_ADDRESS_FLAGS) >>> 0);
    return [{ type, value: flags }];
  }
  if (typeOf(attribute) !== IFA.CACHEINFO) return [attribute];
  // struct ifa_cacheinfo: preferred and valid lifetime in seconds, and when it was made and changed.
  const lifetimes = Buffer.alloc(16);
  value.copy(lifetimes, 0, 0, 8);
  return [{ type, value: lifetimes }];
}

function normalRouteAttribute(attribute: Attribute): Attribute[] {
  if (typeOf(attribute) === RTA.CACHEINFO) return [];
  if (typeOf(attribute) !== RTA.MULTIPATH) return [attribute];
  const value = Buffer.from(attribute.value);
  for (let at = 0; at + NEXTHOP_SIZE <= value.length; at += Math.max(NEXTHOP_SIZE, (value.readUInt16LE(at) + 3) & ~3)) {
    value[at + 2] = (value[at + 2] ?? 0) & ~PASSING_ROUTE_FLAGS;
  }
  return [{ type: attribute.type, value }];
}

function limited(_: number, at: number, bytes: Uint8Array): number {
  const lifetime = Buffer.from(bytes).readUInt32LE(at - (at % 4));
  return lifetime === FOREVER ? 0xff : 0;
}

function without(attributes: readonly Attribute[], ...types: number[]): readonly Attribute[] {
  return attributes.filter((one) => !types.includes(typeOf(one)));
}

function isProxy(header: Buffer): boolean {
  return ((header[10] ?? 0) & NTF_PROXY) !== 0;
}

/** fe80::/10. */
function isLinkLocal(address: Buffer | undefined): boolean {
  return address?.length === 16 && address[0] === 0xfe && ((address[1] ?? 0) & 0xc0) === 0x80;
}

/** RTA_TABLE and FRA_TABLE are both 15; the header has room for 255. */
function tableOf(header: Buffer, attributes: readonly Attribute[]): number {
  return attributeOf(attributes, 15)?.readUInt32LE(0) ?? header[4] ?? 0;
}

function formatAddress(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  return (bytes.toString('hex').match(/.{4}/g) ?? []).map((group) => group.replace(/^0{1,3}/, '')).join(':');
}
