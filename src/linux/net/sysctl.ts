import { readdirSync } from 'node:fs';
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
const LOCKED = new RegExp(`/(${LOCKED_PARAMETERS.join('|')})$`);
/** Parameters of which some are set only with that lock, net/ipv4/devinet.c, net/ipv6/addrconf.c, net/mpls/af_mpls.c. */
const SET_LOCKED = /^(ipv4\/ip_forward$|ipv[46]\/conf\/|mpls\/)/;

/**
 * Every parameter of a network namespace that can be read and written. What cannot be read now (a key that was never
 * set) is left out. Takes some milliseconds.
 * @throws SyscallError, NotYetError `network_too_large`
 */
export function readSysctls(netns: Handle): Promise<Sysctls> {
  return readAt(
    netns,
    inNetworkNamespace(netns, () => pathsBelow('')),
  );
}

/** Parameters of a network namespace in these directories, such as `ipv4/conf/eth0`. @throws SyscallError */
export function readSysctlsOf(netns: Handle, directories: readonly string[]): Promise<Sysctls> {
  return readAt(
    netns,
    inNetworkNamespace(netns, () => directories.flatMap(pathsBelow)),
  );
}

/** Parameters of a network namespace at these paths. @throws SyscallError */
export function readSysctlsAt(netns: Handle, paths: readonly string[]): Promise<Sysctls> {
  return readAt(netns, paths);
}

/** LOCKED_PARAMETERS of a network namespace. @throws SyscallError */
export function readLockedSysctls(netns: Handle): Promise<Sysctls> {
  const links = inNetworkNamespace(netns, () => entriesIn('ipv6/conf').map(({ name }) => name));
  return readAt(
    netns,
    links.flatMap((link) => LOCKED_PARAMETERS.map((parameter) => `ipv6/conf/${link}/${parameter}`)),
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

async function readAt(netns: Handle, paths: readonly string[]): Promise<Sysctls> {
  const free = paths.filter((path) => !LOCKED.test(path));
  const values = inNetworkNamespace(netns, () => readHere(free));
  const locked = paths.filter((path) => LOCKED.test(path));
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

function readHere(paths: readonly string[]): Sysctls {
  const values: Record<string, string> = {};
  const buffer = Buffer.alloc(LONGEST);
  for (const [directory, names] of byDirectory(paths)) {
    using opened = openDirectory(directory);
    if (!opened) continue;
    for (const name of names) {
      const value = read(opened, name, buffer);
      if (value !== undefined) values[`${directory}/${name}`] = value;
    }
  }
  return values;
}

/** From the root the kernel looks a name up among the directories of all network namespaces that there are. */
function byDirectory(paths: readonly string[]): Map<string, string[]> {
  const grouped = new Map<string, string[]>();
  for (const path of paths) {
    const names = grouped.get(dirname(path));
    if (names) names.push(basename(path));
    else grouped.set(dirname(path), [basename(path)]);
  }
  return grouped;
}

function openDirectory(directory: string): Handle | undefined {
  const path = `${PARAMETERS}/${directory}`;
  const fd = openParameter(path, AT.FDCWD, path, O.PATH | O.DIRECTORY | O.CLOEXEC);
  return fd < 0 ? undefined : new Handle(fd, path);
}

/** What links have for themselves is the same for all: listed once, since a link has a hundred of them. */
const OF_LINKS = /^ipv[46]\/(conf|neigh)$/;
/** More than a network may have that is carried: a user can make thousands in the moment before they are looked at. */
const MOST_LINKS = 64;
const namesOfLinks = new Map<string, readonly string[]>();

function pathsBelow(directory: string): string[] {
  const base = directory === '' ? '' : `${directory}/`;
  if (OF_LINKS.test(dirname(directory))) return namesOfLink(directory).map((name) => `${base}${name}`);
  return entriesIn(directory).flatMap((entry) =>
    entry.isDirectory() ? pathsBelow(`${base}${entry.name}`) : [`${base}${entry.name}`],
  );
}

function namesOfLink(directory: string): readonly string[] {
  const kind = dirname(directory);
  const names = namesOfLinks.get(kind) ?? entriesIn(directory).map(({ name }) => name);
  if (names.length > 0) namesOfLinks.set(kind, names);
  return names;
}

/** @throws NotYetError `network_too_large` */
function entriesIn(directory: string) {
  try {
    const entries = readdirSync(`${PARAMETERS}/${directory}`, { withFileTypes: true });
    if (!OF_LINKS.test(directory) || entries.length <= MOST_LINKS) return entries;
  } catch (error) {
    if (isMissing(error)) return []; // this kernel has none of these
    throw error;
  }
  throw new NotYetError('network_too_large', `net/${directory}: more than ${MOST_LINKS} links`);
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
