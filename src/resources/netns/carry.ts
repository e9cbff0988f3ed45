import type { Clock } from '../../clock.ts';
import { NotYetError, RefusedError } from '../../errors.ts';
import type { Handle } from '../../linux/handle.ts';
import type { SyscallError } from '../../linux/libc.ts';
import { type Link, LOOPBACK_INDEX, readLinks, toChange, toMove, toSynchronize } from '../../linux/net/link.ts';
import type { NewNetworkNamespace } from '../../linux/net/make-network-namespace.ts';
import { NETLINK } from '../../linux/net/netlink-protocol.ts';
import { NetlinkSocket } from '../../linux/net/netlink-socket.ts';
import { type NetlinkObject, OBJECT, toMake, toRemove } from '../../linux/net/rtnetlink.ts';
import { carryRuleset, carryXTables } from './carry-filters.ts';
import { carryLinkSysctls, carrySysctls, restoreDetection, withholdDetection } from './carry-sysctls.ts';
import { differenceOf } from './difference.ts';
import { type Network, readCarried } from './network.ts';
import { comesWithAddress, describe, isOfLinkLocal, keyOf, normalForm, type ObjectKind } from './normal-form.ts';
import { SET_FLAGS, verify } from './verify.ts';

/** Of what cannot be carried; the message is shown in one line. */
const MOST_NAMED = 5;
/** An address needs its link, a route its addresses; rules and neighbours need neither. */
const MAKING_ORDER: readonly ObjectKind[] = ['address', 'rule', 'route', 'neighbour'];

/**
 * Gives a new network namespace everything of a network that does not need its links: parameters and packet filters.
 * Nothing is moved yet.
 * @returns what cannot be carried, in words; nothing of it matters where the list is empty
 * @throws SyscallError
 */
export async function carryFoundation(
  network: Network,
  { netns: to, sysctls }: NewNetworkNamespace,
): Promise<string[]> {
  const obstacles = await carrySysctls(network.sysctls, to, sysctls);
  if (obstacles.length > 0) return obstacles;
  return [...(await carryRuleset(network, to)), ...(await carryXTables(network, to))];
}

/** What carryLinks works with; `moved` is called when all links are in the new namespace. */
export interface CarryOptions {
  readonly clock: Pick<Clock, 'sleep'>;
  readonly moved: () => void;
}

/** Whether a network namespace has links beside lo. @throws as NetlinkSocket.dump */
export async function hasLinks(netns: Handle): Promise<boolean> {
  using route = NetlinkSocket.open(netns, NETLINK.ROUTE);
  return (await readLinks(route)).some(({ index }) => index !== LOOPBACK_INDEX);
}

/**
 * Moves the links that are still in the old network namespace, and makes the new one what the network is. Does what is
 * left to do: after a crash, at any point, it is called again.
 * @param from undefined where all links have been moved
 * @throws NotYetError `network_replaced` where both have a link, so that the old one is no longer the one that was read;
 *   `network_changed`, `network_differs`; SyscallError
 */
export async function carryLinks(
  network: Network,
  from: Handle | undefined,
  to: Handle,
  { clock, moved }: CarryOptions,
): Promise<void> {
  using route = NetlinkSocket.open(to, NETLINK.ROUTE);
  await withholdDetection(network.sysctls, to);
  if (from) await moveLinks(network, from, to, route);
  moved();
  const names = network.links.filter(({ index }) => index !== LOOPBACK_INDEX).map(({ name }) => name);
  await carryLinkSysctls(network.sysctls, to, names);
  await setUpLinks(network, route);
  const changed = await carryObjects(network, route);
  // Addresses and routes also come and go by themselves, with the state of their links.
  await verify(network, [...new Set<ObjectKind>([...changed, 'address', 'route'])], route, clock);
  await restoreDetection(network.sysctls, to);
}

async function moveLinks(network: Network, from: Handle, to: Handle, route: NetlinkSocket): Promise<void> {
  using former = NetlinkSocket.open(from, NETLINK.ROUTE);
  const there = await readLinks(route);
  const left = (await readLinks(former)).filter(({ index }) => index !== LOOPBACK_INDEX);
  const isIn = (links: readonly Link[]) => (one: Link) =>
    links.some(({ index, name }) => index === one.index || name === one.name);
  const twice = left.find(isIn(there));
  if (twice) throw new NotYetError('network_replaced', `link ${twice.name} was made anew while it was carried`);
  const stranger = left.find((link) => !isIn(network.links)(link));
  if (stranger) throw new NotYetError('network_changed', `link ${stranger.name} has come since the network was read`);
  await former.demandWhileHolding(left.map((link) => toMove(link, to)));
}

async function setUpLinks(network: Network, route: NetlinkSocket): Promise<void> {
  const current = await readLinks(route);
  const changes = network.links.flatMap((link) => {
    const now = current.find(({ index }) => index === link.index);
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
  const message = `the network of allocation ${id} cannot be handed to ${user}: ${named}${more}`;
  throw new RefusedError('network_not_carriable', message);
}
