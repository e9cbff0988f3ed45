import koffi from 'koffi';
import { failedWith, NotYetError } from '../../errors.ts';
import { Handle, openKernelPath } from '../handle.ts';
import { getsockoptBlocking, O, readBlocking, setsockoptBlocking, socketCall } from '../libc.ts';
import { inNetworkNamespace } from './network-namespace.ts';
import { withTables } from './networks-lock.ts';

/*
 * Who needs this: Consul's transparent proxy. Nomad runs the CNI plugin consul-cni for a group with transparent_proxy
 * (client/allocrunner/networking_cni.go), and that runs the host's `iptables` in the allocation's network namespace
 * (consul/sdk/iptables). Where the host's alternative is iptables-legacy, the redirection to Envoy lies in these tables, and a
 * task without them would talk past the mesh.
 */

/** The families that iptables-legacy and ip6tables-legacy work on; numbers of include/linux/socket.h. */
const FAMILIES = [
  { family: 2, level: 0, names: '/proc/net/ip_tables_names' },
  { family: 10, level: 41, names: '/proc/net/ip6_tables_names' },
] as const;
const SOCK_RAW_CLOEXEC = 0o2000003;
const IPPROTO_RAW = 255;

/** IPT_SO_* and IP6T_SO_*, which are the same numbers: include/uapi/linux/netfilter_ipv4/ip_tables.h. */
const GET_INFO = 64;
const GET_ENTRIES = 65;
const SET_REPLACE = 64;
const NAME_SIZE = 32;
/** There are five tables: raw, mangle, nat, filter, security. */
const MOST_NAMES = 16;
const HOOKS = 5;
/** struct ipt_getinfo: name, valid_hooks, hook_entry, underflow, num_entries, size. */
export const INFO = { SIZE: 84, HOOKS: 32, COUNT: 76, ENTRIES_SIZE: 80 } as const;
/** struct ipt_get_entries: name, size, and from 40 on, where they are aligned, the entries. */
export const ENTRIES = { SIZE: 32, AT: 40 } as const;
/** struct ipt_replace: name, valid_hooks, num_entries, size, hook_entry, underflow, num_counters, counters, entries. */
export const REPLACE = { HOOKS: 32, COUNT: 36, SIZE: 40, ENTRY: 44, COUNTERS: 84, POINTER: 88, AT: 96 } as const;
/** struct ipt_entry and struct ip6t_entry: nfcache, next_offset, comefrom, counters. */
export const IPT_ENTRY = { NFCACHE: 84, NEXT: 90, COMEFROM: 92, COUNTERS: 96, SIZE: 112 } as const;
export const IP6T_ENTRY = { NFCACHE: 136, NEXT: 142, COMEFROM: 144, COUNTERS: 152, SIZE: 168 } as const;
/** sizeof(struct xt_counters). */
const COUNTER_SIZE = 16;
/** Of one table. A user can make them of 512 MiB each in the user's own namespace (XT_MAX_TABLE_SIZE). */
const MOST_BYTES = 1024 * 1024;

/** A table of the kernel's older packet filter, which iptables-legacy writes. */
export interface XTable {
  readonly family: number;
  readonly name: string;
  /** valid_hooks, hook_entry and underflow of struct ipt_getinfo. */
  readonly hooks: Buffer;
  readonly count: number;
  /** The entries with their matches, targets and counters, as the kernel gives them. */
  readonly entries: Buffer;
}

/**
 * The tables of a network namespace; none where nobody has used iptables-legacy in there. All of this waits for a lock of
 * the kernel's that any user can hold, in a wait that nothing ends: on a thread of the pool.
 * @throws SyscallError, NotYetError `network_too_large`, `kernel_busy`
 */
export function readXTables(netns: Handle): Promise<XTable[]> {
  return withTables(async () => {
    const tables: XTable[] = [];
    for (const { family, level, names } of FAMILIES) {
      const found = await linesOf(netns, names);
      if (found.length === 0) continue;
      using socket = rawSocket(family, netns);
      for (const name of found) tables.push(await readTable(socket, family, level, name));
    }
    return tables;
  });
}

/** Makes tables of a network namespace be these. @throws SyscallError, NotYetError `kernel_busy` */
export function writeXTables(netns: Handle, tables: readonly XTable[]): Promise<void> {
  return withTables(async () => {
    for (const { family, level } of FAMILIES) {
      const own = tables.filter((table) => table.family === family);
      if (own.length === 0) continue;
      using socket = rawSocket(family, netns);
      for (const table of own) await replaceTable(socket, level, table);
    }
  });
}

/** The tables of arptables-legacy that are in use in a network namespace. @throws as readXTables */
export function readArpTableNames(netns: Handle): Promise<string[]> {
  return withTables(() => linesOf(netns, '/proc/net/arp_tables_names'));
}

/** A text that is the same for two tables that do the same: without counters and what the kernel notes for itself. */
export function keyOfXTable({ family, name, hooks, count, entries }: XTable): string {
  const compared = Buffer.from(entries);
  const { NFCACHE, NEXT, COMEFROM, COUNTERS, SIZE } = family === 2 ? IPT_ENTRY : IP6T_ENTRY;
  for (let at = 0; at + SIZE <= compared.length; ) {
    const next = compared.readUInt16LE(at + NEXT);
    compared.fill(0, at + NFCACHE, at + NFCACHE + 4);
    compared.fill(0, at + COMEFROM, at + COMEFROM + 4);
    compared.fill(0, at + COUNTERS, at + COUNTERS + COUNTER_SIZE);
    at += Math.max(next, SIZE);
  }
  return [family, name, hooks.toString('hex'), count, compared.toString('hex')].join(' ');
}

async function readTable(socket: Handle, family: number, level: number, name: string): Promise<XTable> {
  const info = await readInfo(socket, level, name);
  const size = info.readUInt32LE(INFO.ENTRIES_SIZE);
  if (size > MOST_BYTES) {
    throw new NotYetError('network_too_large', `iptables-legacy table ${name}: more than ${MOST_BYTES} bytes`);
  }
  const buffer = Buffer.alloc(ENTRIES.AT + size);
  buffer.write(name);
  buffer.writeUInt32LE(size, ENTRIES.SIZE);
  await getsockoptBlocking(`${socket.path}, table ${name}`, socket.fd, level, GET_ENTRIES, buffer, sizeOf(buffer));
  const entries = buffer.subarray(ENTRIES.AT);
  return { family, name, hooks: info.subarray(INFO.HOOKS, INFO.COUNT), count: info.readUInt32LE(INFO.COUNT), entries };
}

async function readInfo(socket: Handle, level: number, name: string): Promise<Buffer> {
  const info = Buffer.alloc(INFO.SIZE);
  info.write(name);
  await getsockoptBlocking(`${socket.path}, table ${name}`, socket.fd, level, GET_INFO, info, sizeOf(info));
  return info;
}

async function replaceTable(socket: Handle, level: number, { name, hooks, count, entries }: XTable): Promise<void> {
  // The kernel hands back the counters of the entries that it replaces.
  const replaced = (await readInfo(socket, level, name)).readUInt32LE(INFO.COUNT);
  const counters = Buffer.alloc(replaced * COUNTER_SIZE);
  const request = Buffer.alloc(REPLACE.AT + entries.length);
  request.write(name);
  hooks.copy(request, REPLACE.HOOKS, 0, 4);
  request.writeUInt32LE(count, REPLACE.COUNT);
  request.writeUInt32LE(entries.length, REPLACE.SIZE);
  hooks.copy(request, REPLACE.ENTRY, 4, 4 + 2 * HOOKS * 4);
  request.writeUInt32LE(replaced, REPLACE.COUNTERS);
  request.writeBigUInt64LE(BigInt(koffi.address(counters)), REPLACE.POINTER);
  entries.copy(request, REPLACE.AT);
  const path = `${socket.path}, table ${name}`;
  await setsockoptBlocking(path, socket.fd, level, SET_REPLACE, request, request.length);
}

function rawSocket(family: number, netns: Handle): Handle {
  const path = `iptables of family ${family} in ${netns.path}`;
  return new Handle(
    inNetworkNamespace(netns, () => socketCall(path, family, SOCK_RAW_CLOEXEC, IPPROTO_RAW)),
    path,
  );
}

function sizeOf(buffer: Buffer): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(buffer.length);
  return size;
}

/** Lines of names, of which the kernel has a handful. Missing where it has no such filter, or nobody has loaded it. */
async function linesOf(netns: Handle, names: string): Promise<string[]> {
  using file = openNames(netns, names);
  if (!file) return [];
  const buffer = Buffer.alloc(MOST_NAMES * NAME_SIZE);
  const length = await readBlocking(names, file.fd, buffer, buffer.length);
  return buffer
    .toString('latin1', 0, length)
    .split('\n')
    .filter((line) => line !== '' && line.length < NAME_SIZE);
}

function openNames(netns: Handle, names: string): Handle | undefined {
  try {
    return inNetworkNamespace(netns, () => openKernelPath(names, O.RDONLY));
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    throw error;
  }
}
