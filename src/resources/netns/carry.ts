import type { Clock } from '../../clock.ts';
import { NotYetError, RefusedError } from '../../errors.ts';
import type { Handle } from '../../linux/handle.ts';
import type { SyscallError } from '../../linux/libc.ts';
import { type Link, LOOPBACK_INDEX, readLinks, toChange, toMove, toSynchronize } from '../../linux/net/link.ts';
import { NETLINK } from '../../linux/net/netlink-protocol.ts';
import { NetlinkSocket } from '../../linux/net/netlink-socket.ts';
import { whileHolding } from '../../linux/net/networks-lock.ts';
import { type NetlinkObject, OBJECT, toMake, toRemove } from '../../linux/net/rtnetlink.ts';
import { readSysctls, readUnlockedSysctls, type Sysctls } from '../../linux/net/sysctl.ts';
import { carryRuleset, carryXTables } from './carry-filters.ts';
import { carryLinkSysctls, carrySysctls, restoreDetection, withholdDetection } from './carry-sysctls.ts';
import { differenceOf } from './difference.ts';
import { type Network, namesOf, readCarried } from './network.ts';
import { comesWithAddress, describe, isOfLinkLocal, keyOf, normalForm, type ObjectKind } from './normal-form.ts';
import { SET_FLAGS, verify } from './verify.ts';

/** Of what cannot be carried; the message is shown in one line. */
const MOST_NAMED = 5;
/** Offset of ifa_index in struct ifaddrmsg, include/uapi/linux/if_addr.h. */
const IFA_INDEX = 4;
/** An address needs its link, a route its addresses; rules and neighbours need neither. */
const MAKING_ORDER: readonly ObjectKind[] = ['address', 'rule', 'route', 'neighbour'];

/**
 * Gives a new network namespace the packet filters of a network. Nothing is moved yet.
 * @returns what cannot be carried, in words; nothing of it matters where the list is empty
 * @throws SyscallError
 */
export async function carryFoundation(network: Network, to: Handle): Promise<string[]> {
  return [...(await carryRuleset(network, to)), ...(await carryXTables(network, to))];
}

/** What carryLinks works with. */
export interface CarryOptions {
  readonly clock: Pick<Clock, 'sleep'>;
  /** Called when all links are in the new namespace. */
  readonly moved: () => void;
  /** The parameters that the new namespace was made with; read where they are not known. */
  readonly sysctls?: Sysctls | undefined;
}

/** Whether a network namespace has links beside lo. @throws as NetlinkSocket.dump */
export async function hasLinks(netns: Handle): Promise<boolean> {
  using route = NetlinkSocket.open(netns, NETLINK.ROUTE);
  return namesOf(await readLinks(route)).length > 0;
}

/**
 * Moves the links that are still in the old network namespace, and makes the new one what the network is, with the
 * parameters that the old one has. Does what is left to do: after a crash, at any point, it is called again.
 * @param from undefined where all links have been moved
 * @returns what cannot be carried of the parameters, in words: then the links are where they were
 * @throws NotYetError `network_replaced` where both have a link, so that the old one is no longer the one that was read;
 *   `network_changed`, `network_differs`; SyscallError
 */
export async function carryLinks(
  network: Network,
  from: Handle | undefined,
  to: Handle,
  { sysctls, ...options }: CarryOptions,
): Promise<string[]> {
  const carryParameters = async (read: Sysctls) =>
    carrySysctls({ ...network.sysctls, ...read }, to, sysctls ?? (await readSysctls(to)));
  const obstacles = await carry(network, from, to, { ...options, carryParameters });
  // Of the old one nothing has been changed but its links.
  if (from && obstacles.length > 0) {
    await carry(network, to, from, { ...options, moved: () => undefined, carryParameters: async () => [] });
  }
  return obstacles;
}

/**
 * Gives links that were moved their addresses, and nothing else: they stay down, so that nobody on their network notices.
 * @throws SyscallError
 */
export async function carryAddresses(network: Network, to: Handle): Promise<void> {
  using route = NetlinkSocket.open(to, NETLINK.ROUTE);
  const links = await readLinks(route);
  const isThere = ({ header }: NetlinkObject) => links.some(({ index }) => index === header.readUInt32LE(IFA_INDEX));
  const wanted = network.objects.address.filter(isThere);
  const { missing } = differenceOf(wanted, await readCarried(route, 'address'), (one) => keyOf('address', one));
  await make('address', missing, route);
}

interface OneWay extends Omit<CarryOptions, 'sysctls'> {
  /** @param read the parameters of the old namespace, as readUnlockedSysctls has them @returns as carrySysctls */
  readonly carryParameters: (read: Sysctls) => Promise<string[]>;
}

async function carry(
  network: Network,
  from: Handle | undefined,
  to: Handle,
  { clock, moved, carryParameters }: OneWay,
): Promise<string[]> {
  using route = NetlinkSocket.open(to, NETLINK.ROUTE);
  // In one go: between two steps the move of another network would have the kernel's lock.
  const { obstacles, changed } = await whileHolding(async () => {
    await withholdDetection(network.sysctls, to);
    const read = from && (await moveLinks(network, from, to, route));
    moved();
    const obstacles = read ? await carryParameters(read) : [];
    if (obstacles.length > 0) return { obstacles, changed: [] };
    const current = await readLinks(route);
    const carried = current.filter(({ index }) => index !== LOOPBACK_INDEX);
    await carryLinkSysctls(network.sysctls, to, carried);
    await setUpLinks(network, current, route);
    return { obstacles, changed: await carryObjects(network, route) };
  });
  if (obstacles.length > 0) return obstacles;
  // Addresses and routes also come and go by themselves, with the state of their links.
  await verify(network, [...new Set<ObjectKind>([...changed, 'address', 'route'])], route, clock);
  await restoreDetection(network.sysctls, to);
  return [];
}

/** @returns the parameters of the old namespace: read while the kernel moves the links, for which it takes its time */
async function moveLinks(network: Network, from: Handle, to: Handle, route: NetlinkSocket): Promise<Sysctls> {
  using former = NetlinkSocket.open(from, NETLINK.ROUTE);
  const there = await readLinks(route);
  const left = (await readLinks(former)).filter(({ index }) => index !== LOOPBACK_INDEX);
  const isIn = (links: readonly Link[]) => (one: Link) =>
    links.some(({ index, name }) => index === one.index || name === one.name);
  const twice = left.find(isIn(there));
  if (twice) throw new NotYetError('network_replaced', `link ${twice.name} was recreated during the migration`);
  const stranger = left.find((link) => !isIn(network.links)(link));
  if (stranger) throw new NotYetError('network_changed', `link ${stranger.name} appeared during the migration`);
  const moving = former.demandWhileHolding(left.map((link) => toMove(link, to)));
  try {
    return readUnlockedSysctls(from);
  } finally {
    await moving;
  }
}

function currentOf(index: number, current: readonly Link[]): Link | undefined {
  return current.find((link) => link.index === index);
}

async function setUpLinks(network: Network, current: readonly Link[], route: NetlinkSocket): Promise<void> {
  const changes = network.links.flatMap((link) => {
    const now = currentOf(link.index, current);
    const changed = ((now?.flags ?? 0) ^ link.flags) & SET_FLAGS;
    return changed === 0 && now?.mtu === link.mtu ? [] : [toChange(link, changed)];
  });
  await route.demand([...changes, ...network.links.map(toSynchronize)]);
}

/** @returns the kinds of which something was made or removed */
async function carryObjects(network: Network, route: NetlinkSocket): Promise<ObjectKind[]> {
  const changed: ObjectKind[] = [];
  for (const kind of MAKING_ORDER) {
    const current = await readCarried(route, kind);
    const { missing, extra } = differenceOf(network.objects[kind], current, (object) => keyOf(kind, object));
    const isSet = (object: NetlinkObject) => !isOfLinkLocal(kind, object) && !comesWithAddress(kind, object);
    const [wanted, unwanted] = [missing.filter(isSet), extra.filter(isSet)];
    await route.demand(unwanted.map((object) => toRemove(OBJECT[kind], object, describe(kind, object))));
    await make(kind, wanted, route);
    if (wanted.length > 0 || unwanted.length > 0) changed.push(kind);
  }
  return changed;
}

/** Makes objects of which some can be made only after others: a route by a gateway after the one to the gateway. */
async function make(kind: ObjectKind, objects: readonly NetlinkObject[], route: NetlinkSocket): Promise<void> {
  let left = objects;
  while (left.length > 0) {
    const requests = left.map((object) => toMake(OBJECT[kind], normalForm(kind, object), describe(kind, object)));
    const errors: (SyscallError | undefined)[] = await route.request(requests);
    const failed = left.filter((_, at) => errors[at] !== undefined);
    if (failed.length === left.length) throw errors[0];
    left = failed;
  }
}

/** @throws RefusedError that names what is in the way, where something is */
export function refuseObstacles(obstacles: readonly string[], id: string, user: string): void {
  if (obstacles.length === 0) return;
  const more = obstacles.length > MOST_NAMED ? `; and ${obstacles.length - MOST_NAMED} more` : '';
  const named = obstacles.slice(0, MOST_NAMED).join('; ');
  const message = `the network of allocation ${id} cannot be migrated to ${user}: ${named}${more}`;
  throw new RefusedError('network_not_carriable', message);
}
