import { readdirSync, statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { failedWith, NotYetError } from '../../errors.ts';

/** Where a process finds the parameters of its network namespace, proc(5). */
export const PARAMETERS = '/proc/sys/net';
/**
 * Earlier names of parameters that have another one with the unit in it: the kernel logs who uses them (net/ipv6/ndisc.c).
 */
export const SUPERSEDED_PARAMETERS = ['base_reachable_time', 'retrans_time'] as const;
const SUPERSEDED = new Set<string>(SUPERSEDED_PARAMETERS);

/** The names of some parameters in one directory. */
export interface Listed {
  readonly directory: string;
  readonly names: readonly string[];
}

/** What links have for themselves is the same for all: listed once, since a link has a hundred of them. */
const OF_LINKS = /^ipv[46]\/(conf|neigh)$/;
/** Beside links: what holds for all, and what new ones get. */
export const OF_NO_LINK: ReadonlySet<string> = new Set(['all', 'default']);
/** These, and lo, which no namespace is without. */
export const ALWAYS_THERE: ReadonlySet<string> = new Set([...OF_NO_LINK, 'lo']);
/** More than a network may have that is carried: a user can make thousands in the moment before they are looked at. */
const MOST_LINKS = 64;
const namesOfLinks = new Map<string, readonly string[]>();

/** All that is in a directory and below it. @param isWanted whether what a link has for itself is listed */
export function listBelow(directory: string, isWanted: (link: string) => boolean = () => true): Listed[] {
  if (OF_LINKS.test(dirname(directory))) {
    return isWanted(basename(directory)) ? [{ directory, names: namesOfLink(directory) }] : [];
  }
  const base = directory === '' ? '' : `${directory}/`;
  const { files, directories } = entriesIn(directory);
  return [{ directory, names: files }, ...directories.flatMap((name) => listBelow(`${base}${name}`, isWanted))];
}

/** The names of what a link has for itself, in a directory such as `ipv4/conf/eth0`. */
export function namesOfLink(directory: string): readonly string[] {
  const kind = dirname(directory);
  const names = namesOfLinks.get(kind) ?? namesIn(directory).filter((name) => !SUPERSEDED.has(name));
  if (names.length > 0) namesOfLinks.set(kind, names);
  return names;
}

/** What is in a directory; `all` are the names of both, one a line. */
interface Entries {
  readonly all: string;
  readonly files: readonly string[];
  readonly directories: readonly string[];
}

/** Which entries are directories is the same in every network namespace, and each one asked for is an object made. */
const knownEntries = new Map<string, Entries>();

/** What is in one directory. @throws NotYetError `network_too_large` */
export function entriesIn(directory: string): Entries {
  const names = namesIn(directory);
  if (OF_LINKS.test(directory)) {
    if (names.length <= MOST_LINKS) return { all: '', files: [], directories: names };
    throw new NotYetError('network_too_large', `net/${directory}: more than ${MOST_LINKS} links`);
  }
  const all = names.join('\n');
  const known = knownEntries.get(directory);
  if (known?.all === all) return known;
  const isDirectory = (name: string) => statSync(`${PARAMETERS}/${directory}/${name}`).isDirectory();
  const directories = names.filter(isDirectory);
  const entries = { all, files: names.filter((name) => !directories.includes(name)), directories };
  knownEntries.set(directory, entries);
  return entries;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(`${PARAMETERS}/${directory}`);
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return []; // this kernel has none of these
    throw error;
  }
}
