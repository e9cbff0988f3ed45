import { basename, dirname } from 'node:path';
import { failedWith } from '../../errors.ts';
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
import type { Link } from './link.ts';
import { toldValue } from './link-configuration.ts';
import { makeFreshNetworkNamespace } from './make-fresh-network-namespace.ts';
import { inNetworkNamespace } from './network-namespace.ts';
import { whileFree } from './networks-lock.ts';
import { entriesIn, type Listed, listBelow, namesOfLink, OF_NO_LINK, PARAMETERS } from './sysctl-names.ts';

/** The longest value is a line of numbers; far below one page, which is all that the kernel gives at once. */
const LONGEST = 4096;

/** Kernel parameters of a network namespace: path below /proc/sys/net, such as `ipv4/ip_forward`, to value. */
export type Sysctls = Readonly<Record<string, string>>;

/** Parameters that the kernel gives only with the lock of its networks. */
export const LOCKED_PARAMETERS = ['addr_gen_mode', 'stable_secret'] as const;
const LOCKED = new Set<string>(LOCKED_PARAMETERS);
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
 * Like readSysctls, without LOCKED_PARAMETERS and what links have for themselves: at once, whoever has the lock of the
 * kernel's networks.
 */
export function readUnlockedSysctls(netns: Handle): Sysctls {
  return inNetworkNamespace(netns, () => readHere(listBelow('', (link) => OF_NO_LINK.has(link))));
}

/**
 * What links have for themselves, `ipv4/conf/eth0/forwarding` and the like: of the hundred that a link has, those that the
 * kernel does not tell by netlink are read.
 * @param links as they are now
 * @param others paths of parameters to read with them
 * @throws SyscallError
 */
export async function readSysctlsOfLinks(
  netns: Handle,
  links: readonly Pick<Link, 'name' | 'configuration'>[],
  others: readonly string[] = [],
): Promise<Sysctls> {
  const told: Record<string, string> = {};
  const listed = inNetworkNamespace(netns, () =>
    links.flatMap(({ name: link, configuration }) =>
      (['ipv4', 'ipv6'] as const).flatMap((ip) => {
        const directory = `${ip}/conf/${link}`;
        const untold = namesOfLink(directory).filter((name) => {
          const value = toldValue(configuration, ip, name);
          if (value !== undefined) told[`${directory}/${name}`] = value;
          return value === undefined;
        });
        return [{ directory, names: untold }, ...listBelow(`${ip}/neigh/${link}`)];
      }),
    ),
  );
  return { ...told, ...(await readAt(netns, [...listed, ...byDirectory(others)])) };
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
      if (!failedWith(error, 'EIO')) throw error; // a key that was never set
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
