import type { Clock } from '../../clock.ts';
import { NotYetError } from '../../errors.ts';
import { IFF, type Link, readLinks } from '../../linux/net/link.ts';
import type { NetlinkSocket } from '../../linux/net/netlink-socket.ts';
import { differenceOf } from './difference.ts';
import { type Network, readCarried } from './network.ts';
import { describe, isOfLinkLocal, keyOf, type ObjectKind } from './normal-form.ts';

/** Looks whether all is as it was, before it is said not to be: each a millisecond later than the one before, at most ten. */
const MOST_LOOKS = 300;
const MOST_BETWEEN_LOOKS_MS = 10;

/** The flags of a link that somebody sets; the others follow from its state. */
export const SET_FLAGS = IFF.UP | IFF.NOARP | IFF.PROMISC | IFF.ALLMULTI | IFF.MULTICAST;

/**
 * The proof: what is there now is what was there before. The kernel takes note of a link's carrier within a second, and
 * makes the route to an IPv6 address a moment after that (addrconf_dad_work).
 * @param kinds of objects to look at, beside the links
 * @throws NotYetError `network_differs`
 */
export async function verify(
  network: Network,
  kinds: readonly ObjectKind[],
  route: NetlinkSocket,
  clock: Pick<Clock, 'sleep'>,
): Promise<void> {
  let differing = await findDifferences(network, kinds, route);
  for (let look = 1; differing.length > 0 && look < MOST_LOOKS; look++) {
    await clock.sleep(Math.min(look, MOST_BETWEEN_LOOKS_MS));
    differing = await findDifferences(network, kinds, route);
  }
  if (differing.length === 0) return;
  const message = `the network differs from what Nomad made: ${differing.join(', ')}`;
  throw new NotYetError('network_differs', message);
}

async function findDifferences(
  network: Network,
  kinds: readonly ObjectKind[],
  route: NetlinkSocket,
): Promise<string[]> {
  const links = differenceOf(network.links, await readLinks(route), keyOfLink);
  const differing = [...links.missing, ...links.extra].map(({ name }) => `link ${name}`);
  for (const kind of kinds) {
    const current = await readCarried(route, kind);
    const { missing, extra } = differenceOf(network.objects[kind], current, (object) => keyOf(kind, object));
    const counted = [...missing, ...extra].filter((object) => !isOfLinkLocal(kind, object));
    differing.push(...counted.map((object) => describe(kind, object)));
  }
  return differing;
}

function keyOfLink({ index, name, altNames, kind, flags, mtu, address, txQueueLength, group, alias }: Link): string {
  const set = flags & (SET_FLAGS | IFF.RUNNING);
  return JSON.stringify([index, name, [...altNames].sort(), kind, set, mtu, address, txQueueLength, group, alias]);
}
