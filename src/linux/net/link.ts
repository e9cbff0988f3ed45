import { type LinkConfiguration, linkConfiguration } from './link-configuration.ts';
import { attributeOf, decodeAttributes, encodeAttributes, textOf, typeOf, u32Attribute } from './netlink-message.ts';
import type { NetlinkRequest, NetlinkSocket } from './netlink-socket.ts';

/** Message types, include/uapi/linux/rtnetlink.h. */
const RTM = { NEWLINK: 16, GETLINK: 18 } as const;

/** Attributes of a link, include/uapi/linux/if_link.h. */
const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  MASTER: 10,
  TXQLEN: 13,
  LINKINFO: 18,
  IFALIAS: 20,
  AF_SPEC: 26,
  GROUP: 27,
  NET_NS_FD: 28,
  XDP: 43,
  PROP_LIST: 52,
  ALT_IFNAME: 53,
  INFO_KIND: 1,
  XDP_ATTACHED: 2,
  INET_CONF: 1,
  INET6_CONF: 2,
  INET6_TOKEN: 7,
} as const;

/** include/linux/socket.h. */
const AF_INET = 2;
const AF_INET6 = 10;

/** Flags of a link, include/uapi/linux/if.h. */
export const IFF = { UP: 0x1, RUNNING: 0x40, NOARP: 0x80, PROMISC: 0x100, ALLMULTI: 0x200, MULTICAST: 0x1000 } as const;

/** A link as the kernel has it. */
export interface Link {
  readonly index: number;
  readonly name: string;
  readonly altNames: readonly string[];
  /** `veth`, `macvlan`, …; empty for a device of the hardware and for lo. */
  readonly kind: string;
  /** Bits of IFF. */
  readonly flags: number;
  /** In bytes. */
  readonly mtu: number;
  /** The MAC address in hexadecimal digits. */
  readonly address: string;
  readonly txQueueLength: number;
  readonly group: number;
  readonly alias: string;
  /** The index of the bridge or bond that it belongs to. */
  readonly master: number | undefined;
  readonly hasXdpProgram: boolean;
  readonly hasToken: boolean;
  readonly configuration: LinkConfiguration;
}

/** The index of lo in every network namespace, LOOPBACK_IFINDEX in include/net/net_namespace.h. */
export const LOOPBACK_INDEX = 1;

/** All links. @throws as NetlinkSocket.dump, ParseError */
export async function readLinks(socket: NetlinkSocket): Promise<Link[]> {
  const dumped = await socket.dump({ type: RTM.GETLINK, payload: linkHeader(0), what: 'listing links' });
  return dumped.map(({ payload }) => parseLink(payload));
}

/** The request that moves a link to another network namespace, up or down as it is told to be there. */
export function toMove({ index, name }: Link, netns: { readonly fd: number }): NetlinkRequest {
  const attributes = encodeAttributes([u32Attribute(IFLA.NET_NS_FD, netns.fd)]);
  return { type: RTM.NEWLINK, payload: Buffer.concat([linkHeader(index), attributes]), what: `moving link ${name}` };
}

/** The request that gives a link flags and MTU. The kernel changes the flags in `changed` alone. */
export function toChange({ index, name, flags, mtu }: Link, changed: number): NetlinkRequest {
  const payload = Buffer.concat([linkHeader(index, flags, changed), encodeAttributes([u32Attribute(IFLA.MTU, mtu)])]);
  return { type: RTM.NEWLINK, payload, what: `setting up link ${name}` };
}

/**
 * The request that asks for one link, upon which the kernel takes note of its carrier at once (linkwatch_sync_dev in
 * rtnl_getlink, Linux 6.9). Otherwise it does so within a second, and only then uses the link's IPv6 addresses.
 */
export function toSynchronize({ index, name }: Link): NetlinkRequest {
  return { type: RTM.GETLINK, payload: linkHeader(index), what: `looking at link ${name}` };
}

/** struct ifinfomsg: family, padding, type (u16), index (i32), flags, change mask (u32), include/uapi/linux/rtnetlink.h. */
const LINK_HEADER_SIZE = 16;

function linkHeader(index: number, flags = 0, changed = 0): Buffer {
  const header = Buffer.alloc(LINK_HEADER_SIZE);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(changed, 12);
  return header;
}

function parseLink(payload: Buffer): Link {
  const attributes = decodeAttributes(payload.subarray(LINK_HEADER_SIZE));
  const nested = (type: number) => decodeAttributes(attributeOf(attributes, type) ?? Buffer.alloc(0));
  const text = (value: Buffer | undefined) => (value ? textOf(value) : '');
  const number = (type: number) => attributeOf(attributes, type)?.readUInt32LE(0);
  const families = nested(IFLA.AF_SPEC);
  const ofFamily = (family: number) => decodeAttributes(attributeOf(families, family) ?? Buffer.alloc(0));
  const inet6 = ofFamily(AF_INET6);
  const token = attributeOf(inet6, IFLA.INET6_TOKEN);
  return {
    index: payload.readInt32LE(4),
    name: text(attributeOf(attributes, IFLA.IFNAME)),
    altNames: nested(IFLA.PROP_LIST)
      .filter((one) => typeOf(one) === IFLA.ALT_IFNAME)
      .map(({ value }) => textOf(value)),
    kind: text(attributeOf(nested(IFLA.LINKINFO), IFLA.INFO_KIND)),
    flags: payload.readUInt32LE(8),
    mtu: number(IFLA.MTU) ?? 0,
    address: attributeOf(attributes, IFLA.ADDRESS)?.toString('hex') ?? '',
    txQueueLength: number(IFLA.TXQLEN) ?? 0,
    group: number(IFLA.GROUP) ?? 0,
    alias: text(attributeOf(attributes, IFLA.IFALIAS)),
    master: number(IFLA.MASTER),
    hasXdpProgram: (attributeOf(nested(IFLA.XDP), IFLA.XDP_ATTACHED)?.[0] ?? 0) !== 0,
    hasToken: token?.some((byte) => byte !== 0) ?? false,
    configuration: linkConfiguration(
      attributeOf(ofFamily(AF_INET), IFLA.INET_CONF),
      attributeOf(inet6, IFLA.INET6_CONF),
    ),
  };
}
