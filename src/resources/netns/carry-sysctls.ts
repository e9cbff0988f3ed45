import { messageOf } from '../../errors.ts';
import type { Handle } from '../../linux/handle.ts';
import type { Link } from '../../linux/net/link.ts';
import {
  LOCKED_PARAMETERS,
  readFreshSysctls,
  readSysctlsAt,
  readSysctlsOfLinks,
  type Sysctls,
  writeSysctls,
} from '../../linux/net/sysctl.ts';
import { ALWAYS_THERE } from '../../linux/net/sysctl-names.ts';

/** Parameters that a link has for itself: `ipv4/conf/eth0/forwarding`. */
const OF_LINK = /^(ipv[46]\/(?:conf|neigh))\/([^/]+)\/(.+)$/;
/** Writing one of these changes others: first come those that change the most. */
const ORDER = [/^ipv4\/ip_forward$/, /\/conf\/all\//, /\/conf\/default\//];
/** Whether IPv6 addresses are first looked for on the link: for seconds, in which nobody could use them. */
const DETECTS_DUPLICATES = /^ipv6\/conf\/[^/]+\/accept_dad$/;
const NO_DETECTION: readonly string[] = ['ipv6/conf/all/accept_dad', 'ipv6/conf/default/accept_dad'];
/** What the kernel gives only with its lock, beside what links have. */
const LOCKED = ['all', 'default'].flatMap((one) => LOCKED_PARAMETERS.map((name) => `ipv6/conf/${one}/${name}`));

/** Path and value. */
type Parameter = readonly [string, string];

/** What this host's root gets in a new network namespace, as it was when we last looked. */
let fresh: Sysctls | undefined;

/**
 * The parameters that cannot be read any more, or not without waiting, once the links of a network namespace move: what they
 * have for themselves, and what the kernel gives only with its lock. Among them NO_DETECTION, which are others meanwhile.
 * @throws SyscallError, NotYetError
 */
export function readLinkSysctls(netns: Handle, links: readonly Link[]): Promise<Sysctls> {
  return readSysctlsOfLinks(netns, links, [...LOCKED, ...NO_DETECTION]);
}

/**
 * Makes the parameters of a network namespace be those of another one, without what links have for themselves and without
 * duplicate address detection.
 * @param current the parameters of the new one, as its user sees them: group ids are others in her user namespace
 * @returns the ones that cannot be, in words
 * @throws SyscallError
 */
export async function carrySysctls(wanted: Sysctls, to: Handle, current: Sysctls): Promise<string[]> {
  const differing = Object.entries(wanted).filter(([path, value]) => current[path] !== value);
  const missing = differing.filter(([path]) => current[counterpart(path)] === undefined);
  const isOwn = ([path]: Parameter) => counterpart(path) !== path || NO_DETECTION.includes(path);
  if (differing.every(isOwn)) return await notCarried(missing);
  const shared = Object.entries(wanted).filter((one) => !isOwn(one));
  return [...(await notCarried(missing)), ...(await equalize(shared, to, current)).map(messageOf)];
}

/**
 * Makes what links have for themselves in a network namespace be what it is to be, before they come up. Duplicate
 * address detection stays off: what is carried was found to be the only one already.
 * @param links as they are there now; @throws the first error
 */
export async function carryLinkSysctls(wanted: Sysctls, to: Handle, links: readonly Link[]): Promise<void> {
  const concerned = Object.entries(wanted).filter(([path]) => !DETECTS_DUPLICATES.test(path));
  demand(await equalize(concerned, to, await readSysctlsOfLinks(to, links)));
}

/** Turns duplicate address detection off for the links that come. @throws SyscallError */
export async function withholdDetection(wanted: Sysctls, to: Handle): Promise<void> {
  demand(
    await writeSysctls(
      to,
      NO_DETECTION.filter((path) => wanted[path] !== undefined).map((path) => [path, '0']),
    ),
  );
}

/** Makes duplicate address detection what it is to be, once the links are up. @throws the first error */
export async function restoreDetection(wanted: Sysctls, to: Handle): Promise<void> {
  demand(
    await writeSysctls(
      to,
      Object.entries(wanted).filter(([path]) => DETECTS_DUPLICATES.test(path)),
    ),
  );
}

/** Writes what differs, and once more where writing one has changed another. */
async function equalize(wanted: readonly Parameter[], to: Handle, current: Sysctls): Promise<Error[]> {
  const differing = (among: readonly Parameter[], now: Sysctls) =>
    among.filter(([path, value]) => now[path] !== undefined && now[path] !== value);
  const look = (among: readonly Parameter[]) =>
    readSysctlsAt(
      to,
      among.map(([path]) => path),
    );
  const seen = differing(wanted, current);
  if (seen.length === 0) return [];
  const first = differing(seen, await look(seen)).sort(([a], [b]) => rank(a) - rank(b));
  if (first.length === 0) return [];
  const errors = await writeSysctls(to, first);
  if (errors.length > 0) return errors;
  const touched = first.some(([path]) => rank(path) < ORDER.length) ? wanted : first;
  return await writeSysctls(to, differing(touched, await look(touched)));
}

/** What a user's network namespace does not have: no matter, as long as it is as it was made. */
async function notCarried(missing: readonly Parameter[]): Promise<string[]> {
  const isAsMade = ([path, value]: Parameter) => fresh?.[counterpart(path)] === value;
  if (fresh && missing.every(isAsMade)) return [];
  fresh = await readFreshSysctls(); // the host may have changed what it gives
  return missing
    .filter((one) => !isAsMade(one))
    .map(([path, value]) => {
      const name = `net.${path.replaceAll('/', '.')}`;
      return `sysctl ${name} = ${value} does not exist in a user's network namespace`;
    });
}

/** The path itself, or for a link's own parameter the same of lo, which is always there. */
function counterpart(path: string): string {
  const [, directory, link, name] = OF_LINK.exec(path) ?? [];
  return link === undefined || ALWAYS_THERE.has(link) ? path : `${directory}/lo/${name}`;
}

function rank(path: string): number {
  const at = ORDER.findIndex((pattern) => pattern.test(path));
  return at === -1 ? ORDER.length : at;
}

function demand([error]: readonly Error[]): void {
  if (error) throw error;
}
