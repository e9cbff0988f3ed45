import type { Handle } from '../../linux/handle.ts';
import { hasIpsec } from '../../linux/net/ipsec.ts';
import { type Link, LOOPBACK_INDEX, readLinks } from '../../linux/net/link.ts';
import { makeFreshNetworkNamespace } from '../../linux/net/make-fresh-network-namespace.ts';
import { NETLINK } from '../../linux/net/netlink-protocol.ts';
import { NetlinkSocket } from '../../linux/net/netlink-socket.ts';
import { type NftObject, nftObstacle, portable, readRuleset } from '../../linux/net/nf-tables.ts';
import {
  AF,
  countNexthops,
  type NetlinkObject,
  OBJECT,
  readAddressLabels,
  readObjects,
  readQueueingDisciplines,
} from '../../linux/net/rtnetlink.ts';
import type { Sysctls } from '../../linux/net/sysctl.ts';
import { readArpTableNames, readXTables, type XTable } from '../../linux/net/x-tables.ts';
import { readLinkSysctls } from './carry-sysctls.ts';
import { isCarried, type ObjectKind } from './normal-form.ts';

/**
 * What makes up the network of a network namespace, as far as it can be carried into another one: all that is no longer to be
 * had there once its links have been moved, and the packet filters.
 */
export interface Network {
  readonly links: readonly Link[];
  readonly objects: Readonly<Record<ObjectKind, readonly NetlinkObject[]>>;
  readonly ruleset: readonly NftObject[];
  readonly xTables: readonly XTable[];
  /** As readLinkSysctls has them: the others can be read as long as the namespace is there. */
  readonly sysctls: Sysctls;
}

/** A network that was read, and why it cannot be carried into a network namespace of a user's: in words, empty where it can. */
export interface Survey {
  readonly network: Network;
  readonly obstacles: readonly string[];
}

/** A user can make thousands in the user's own network namespace, each with a hundred parameters to read. */
const MOST_LINKS = 32;

/** Reads the network of a network namespace. @throws SyscallError, NotYetError where it changes meanwhile */
export async function surveyNetwork(netns: Handle): Promise<Survey> {
  using route = NetlinkSocket.open(netns, NETLINK.ROUTE);
  const links = await readLinks(route);
  const obstacles = [
    ...links.filter(({ index }) => index !== LOOPBACK_INDEX).flatMap(obstaclesOfLink),
    ...(links.length > MOST_LINKS ? [`it has ${links.length} links, more than ${MOST_LINKS}`] : []),
  ];
  const none = {
    links,
    objects: { address: [], route: [], rule: [], neighbour: [] },
    ruleset: [],
    xTables: [],
    sysctls: {},
  };
  if (obstacles.length > 0) return { network: none, obstacles };
  using filter = NetlinkSocket.open(netns, NETLINK.NETFILTER);
  const ruleset = portable(await readRuleset(filter));
  const objects = await readAllObjects(route);
  const network = {
    links,
    objects: objects.carried,
    ruleset,
    xTables: await readXTables(netns),
    sysctls: await readLinkSysctls(netns, links),
  };
  return {
    network,
    obstacles: [
      ...objects.foreign,
      ...(await obstaclesOnLinks(route, links)),
      ...ruleset.flatMap((object) => nftObstacle(object) ?? []),
      ...(await readArpTableNames(netns)).map((name) => `there is an arptables table (${name})`),
      ...((await hasIpsec(netns)) ? ['there are IPsec states or policies (ip xfrm)'] : []),
    ],
  };
}

/** The names of the links beside lo. */
export function namesOf(links: readonly Link[]): string[] {
  return links.filter(({ index }) => index !== LOOPBACK_INDEX).map(({ name }) => name);
}

/** NTF_PROXY in struct ndmsg: a dump of neighbours gives either the proxies or all others. */
const PROXIES = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x08, 0]);

/** One kind of what lies on the links, without what is not carried. @throws as surveyNetwork */
export async function readCarried(socket: NetlinkSocket, kind: ObjectKind): Promise<readonly NetlinkObject[]> {
  return (await readKind(socket, kind)).filter((object) => isCarried(kind, object));
}

async function readKind(socket: NetlinkSocket, kind: ObjectKind): Promise<NetlinkObject[]> {
  const found = await readObjects(socket, OBJECT[kind]);
  return kind === 'neighbour' ? [...found, ...(await readObjects(socket, OBJECT[kind], PROXIES))] : found;
}

async function readAllObjects(socket: NetlinkSocket): Promise<{ carried: Network['objects']; foreign: string[] }> {
  const routes = await readKind(socket, 'route');
  // Of other protocol families than the kernel makes routes for by itself: MPLS, multicast routing.
  const foreign = routes.find(({ header }) => header[0] !== AF.INET && header[0] !== AF.INET6);
  const carried = {
    address: await readCarried(socket, 'address'),
    route: routes.filter((object) => isCarried('route', object)),
    rule: await readCarried(socket, 'rule'),
    neighbour: await readCarried(socket, 'neighbour'),
  };
  return { carried, foreign: foreign ? [`there are routes of the protocol family ${foreign.header[0]}`] : [] };
}

async function obstaclesOnLinks(route: NetlinkSocket, links: readonly Link[]): Promise<string[]> {
  const nameOf = (index: number) => links.find((link) => link.index === index)?.name ?? `link ${index}`;
  const disciplines = await readQueueingDisciplines(route);
  return [
    ...disciplines.map(({ index, kind }) => `${nameOf(index)} has a queueing discipline of its own (${kind})`),
    ...((await countNexthops(route)) > 0 ? ['there are nexthop objects (ip nexthop)'] : []),
    ...((await hasAddressLabels(route)) ? ['there are address labels (ip addrlabel)'] : []),
  ];
}

let usualLabels: string | undefined;

/** Whether there are others than the kernel makes in every network namespace, or some of these are gone. */
async function hasAddressLabels(route: NetlinkSocket): Promise<boolean> {
  usualLabels ??= await readUsualLabels();
  return (await readAddressLabels(route)) !== usualLabels;
}

async function readUsualLabels(): Promise<string> {
  using netns = await makeFreshNetworkNamespace();
  using route = NetlinkSocket.open(netns, NETLINK.ROUTE);
  return await readAddressLabels(route);
}

/**
 * Kinds of link that the kernel moves, and that give whoever owns the network namespace no power over what is not
 * theirs. Not among them: what stays where it was made (bridge, bond, tunnels), and what we have not seen move.
 */
const MOVABLE = new Set(['veth', 'macvlan', 'macvtap', 'ipvlan', 'ipvtap', 'vlan', 'dummy', 'ifb', 'tun', 'wireguard']);

function obstaclesOfLink({ name, kind, master, hasXdpProgram, hasToken }: Link): string[] {
  const movable = MOVABLE.has(kind);
  const hardware = `${name} is a hardware device, which the owner of its network namespace could reconfigure`;
  return [
    ...(kind === '' ? [hardware] : []),
    ...(kind !== '' && !movable ? [`${name} is of kind ${kind}, which cannot be moved`] : []),
    ...(movable && master !== undefined ? [`${name} belongs to another link`] : []),
    ...(hasXdpProgram ? [`${name} has an XDP program`] : []),
    ...(hasToken ? [`${name} has an IPv6 token (ip token)`] : []),
  ];
}
