import { readdirSync, statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { NotYetError } from '../../errors.ts';
import { Handle, openKernelPath } from '../handle.ts';
import {
  AT,
  closeFd,
  O,
  openParameter,
  readBlocking,
  readParameter,
  SyscallError,
  writeBlocking,
  writeParameter,
} from '../libc.ts';
import { makeFreshNetworkNamespace } from './make-fresh-network-namespace.ts';
import { inNetworkNamespace } from './network-namespace.ts';
import { whileFree } from './networks-lock.ts';

/** Where a process finds the parameters of its network namespace, proc(5). */
export const PARAMETERS = '/proc/sys/net';
/** The longest value is a line of numbers; far below one page, which is all that the kernel gives at once. */
const LONGEST = 4096;

/** Kernel parameters of a network namespace: path below /proc/sys/net, such as `ipv4/ip_forward`, to value. */
export type Sysctls = Readonly<Record<string, string>>;

/** Parameters that the kernel gives only with the lock of its networks. */
export const LOCKED_PARAMETERS = ['addr_gen_mode', 'stable_secret'] as const;
const LOCKED = new Set<string>(LOCKED_PARAMETERS);
/**
 * Earlier names of parameters that have another one with the unit in it: the kernel logs who uses them (net/ipv6/ndisc.c).
 */
export const SUPERSEDED_PARAMETERS = ['base_reachable_time', 'retrans_time'] as const;
const SUPERSEDED = new Set<string>(SUPERSEDED_PARAMETERS);
/** Parameters of which some are set only with that lock, net/ipv4/devinet.c, net/ipv6/addrconf.c, net/mpls/af_mpls.c. */
const SET_LOCKED = /^(ipv4\/ip_forward$|ipv[46]\/conf\/|mpls\/)/;

/**
 * Every parameter of a network namespace that can be read and written, by one name. What cannot be read now (a key that
 * was never set) is left out. Takes some milliseconds.
 * @throws SyscallError, NotYetError `network_too_large`
 */
export function readSysctls(netns: Handle): Promise<Sysctls> {
  return readAt(
    netns,
    inNetworkNamespace(netns, () => listBelow('')),
  );
}

/**
 * Like readSysctls, without LOCKED_PARAMETERS and what links beside lo have for themselves: at once, whoever has the lock of
 * the kernel's networks.
 */
export function readUnlockedSysctls(netns: Handle): Sysctls {
  return inNetworkNamespace(netns, () => readHere(listBelow('', (link) => ALWAYS_THERE.has(link))));
}

/** Parameters of a network namespace in these directories, such as `ipv4/conf/eth0`. @throws SyscallError */
export function readSysctlsOf(netns: Handle, directories: readonly string[]): Promise<Sysctls> {
  return readAt(
    netns,
    inNetworkNamespace(netns, () => directories.flatMap((directory) => listBelow(directory))),
  );
}

/** Parameters of a network namespace at these paths. @throws SyscallError */
export function readSysctlsAt(netns: Handle, paths: readonly string[]): Promise<Sysctls> {
  return readAt(netns, byDirectory(paths));
}

/** LOCKED_PARAMETERS of a network namespace. @throws SyscallError */
export function readLockedSysctls(netns: Handle): Promise<Sysctls> {
  const links = inNetworkNamespace(netns, () => entriesIn('ipv6/conf').directories);
  return readAt(
    netns,
    links.map((link) => ({ directory: `ipv6/conf/${link}`, names: LOCKED_PARAMETERS })),
  );
}

/** The parameters of a network namespace that root has just made, as this host makes them now. @throws SyscallError */
export async function readFreshSysctls(): Promise<Sysctls> {
  using netns = await makeFreshNetworkNamespace();
  return await readSysctls(netns);
}

/**
 * Sets parameters of a network namespace, in the order given.
 * @returns the paths that the kernel does not let be set, with its reason
 * @throws SyscallError
 */
export async function writeSysctls(
  netns: Handle,
  values: readonly (readonly [path: string, value: string])[],
): Promise<Error[]> {
  if (values.length === 0) return [];
  return await whileFree(async () => {
    const errors: Error[] = [];
    for (const [path, value] of values) {
      const error = await write(netns, path, value);
      if (error) errors.push(new Error(`net.${path.replaceAll('/', '.')}`, { cause: error }));
    }
    return errors;
  });
}

/** The names of some parameters in one directory. */
interface Listed {
  readonly directory: string;
  readonly names: readonly string[];
}

async function readAt(netns: Handle, listed: readonly Listed[]): Promise<Sysctls> {
  const values = inNetworkNamespace(netns, () => readHere(listed));
  const locked = listed.flatMap(({ directory, names }) =>
    names.filter((name) => LOCKED.has(name)).map((name) => `${directory}/${name}`),
  );
  return locked.length === 0 ? values : { ...values, ...(await whileFree(() => readLocked(netns, locked))) };
}

/** On a thread of the pool: the kernel tries for the lock on the processor, for as long as a user holds it. */
async function readLocked(netns: Handle, paths: readonly string[]): Promise<Sysctls> {
  const values: Record<string, string> = {};
  const buffer = Buffer.alloc(LONGEST);
  for (const path of paths) {
    using file = openIfThere(netns, path, O.RDWR);
    if (!file) continue;
    try {
      const length = await readBlocking(file.path, file.fd, buffer, LONGEST);
      values[path] = buffer.toString('latin1', 0, length).trimEnd();
    } catch (error) {
      if (!(error instanceof SyscallError && error.is('EIO'))) throw error; // a key that was never set
    }
  }
  return values;
}

/** In the network namespace that we are in. From the root the kernel looks a name up among the directories of all that there are. */
function readHere(listed: readonly Listed[]): Sysctls {
  const values: Record<string, string> = {};
  const buffer = Buffer.alloc(LONGEST);
  for (const { directory, names } of listed) {
    using opened = openDirectory(directory);
    if (!opened) continue;
    for (const name of names) {
      const value = LOCKED.has(name) ? undefined : read(opened, name, buffer);
      if (value !== undefined) values[`${directory}/${name}`] = value;
    }
  }
  return values;
}

function byDirectory(paths: readonly string[]): Listed[] {
  const grouped = new Map<string, string[]>();
  for (const path of paths) {
    const names = grouped.get(dirname(path));
    if (names) names.push(basename(path));
    else grouped.set(dirname(path), [basename(path)]);
  }
  return [...grouped].map(([directory, names]) => ({ directory, names }));
}

function openDirectory(directory: string): Handle | undefined {
  const path = `${PARAMETERS}/${directory}`;
  const fd = openParameter(path, AT.FDCWD, path, O.PATH | O.DIRECTORY | O.CLOEXEC);
  return fd < 0 ? undefined : new Handle(fd, path);
}

/** What links have for themselves is the same for all: listed once, since a link has a hundred of them. */
const OF_LINKS = /^ipv[46]\/(conf|neigh)$/;
/** Beside links: what holds for all, what new ones get; and lo, which no namespace is without. */
export const ALWAYS_THERE: ReadonlySet<string> = new Set(['all', 'default', 'lo']);
/** More than a network may have that is carried: a user can make thousands in the moment before they are looked at. */
const MOST_LINKS = 64;
const namesOfLinks = new Map<string, readonly string[]>();

/** @param isWanted whether what a link has for itself is listed */
function listBelow(directory: string, isWanted: (link: string) => boolean = () => true): Listed[] {
  if (OF_LINKS.test(dirname(directory))) {
    return isWanted(basename(directory)) ? [{ directory, names: namesOfLink(directory) }] : [];
  }
  const base = directory === '' ? '' : `${directory}/`;
  const { files, directories } = entriesIn(directory);
  return [{ directory, names: files }, ...directories.flatMap((name) => listBelow(`${base}${name}`, isWanted))];
}

function namesOfLink(directory: string): readonly string[] {
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

/** @throws NotYetError `network_too_large` */
function entriesIn(directory: string): Entries {
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
    if (isMissing(error)) return []; // this kernel has none of these
    throw error;
  }
}

/** Opened for both: the kernel then refuses what can only be read, and what can only be written, at the cost of no call. */
function read(directory: Handle, name: string, buffer: Buffer): string | undefined {
  const fd = openParameter(directory.path, directory.fd, name, O.RDWR | O.CLOEXEC);
  if (fd < 0) return undefined;
  try {
    const length = readParameter(directory.path, fd, buffer, LONGEST);
    return length < 0 ? undefined : buffer.toString('latin1', 0, length).trimEnd();
  } finally {
    closeFd(directory.path, fd);
  }
}

/** What the kernel sets with the lock is set as readLocked reads; it knows the namespace by the open file. */
async function write(netns: Handle, path: string, value: string): Promise<SyscallError | undefined> {
  const bytes = Buffer.from(`${value}\n`, 'latin1');
  try {
    using file = inNetworkNamespace(netns, () => openKernelPath(`${PARAMETERS}/${path}`, O.WRONLY));
    if (SET_LOCKED.test(path)) await writeBlocking(file.path, file.fd, bytes, bytes.length);
    // Not so the others: some look at the namespace of whoever writes.
    else inNetworkNamespace(netns, () => writeParameter(file.path, file.fd, bytes, bytes.length));
    return undefined;
  } catch (error) {
    if (error instanceof SyscallError) return error;
    throw error;
  }
}

function openIfThere(netns: Handle, path: string, flags: number): Handle | undefined {
  const whole = `${PARAMETERS}/${path}`;
  const fd = inNetworkNamespace(netns, () => openParameter(whole, AT.FDCWD, whole, flags | O.CLOEXEC));
  return fd < 0 ? undefined : new Handle(fd, whole);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
