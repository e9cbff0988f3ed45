import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Handle } from '../../src/linux/handle.ts';
import { readLinks } from '../../src/linux/net/link.ts';
import { makeFreshNetworkNamespace } from '../../src/linux/net/make-fresh-network-namespace.ts';
import { NETLINK } from '../../src/linux/net/netlink-protocol.ts';
import { NetlinkSocket } from '../../src/linux/net/netlink-socket.ts';
import { inNetworkNamespace } from '../../src/linux/net/network-namespace.ts';
import { readSysctls, readSysctlsOfLinks } from '../../src/linux/net/sysctl.ts';
import { requires } from '../support/requires.ts';

const OF_LINK = /^ipv[46]\/(conf|neigh)\/(lo|d0)\//;

requires('root', 'sandbox')('what links have for themselves', () => {
  let netns: Handle;

  beforeEach(async () => {
    netns = await makeFreshNetworkNamespace();
    const make = 'ip link add d0 type veth peer name d1';
    execFileSync('nsenter', [`--net=/proc/${process.pid}/fd/${netns.fd}`, ...make.split(' ')]);
  });
  afterEach(() => netns.close());

  async function byFile(): Promise<Record<string, string>> {
    return Object.fromEntries(Object.entries(await readSysctls(netns)).filter(([path]) => OF_LINK.test(path)));
  }

  async function byNetlink(): Promise<Record<string, string>> {
    using route = NetlinkSocket.open(netns, NETLINK.ROUTE);
    const links = (await readLinks(route)).filter(({ name }) => name !== 'd1');
    return await readSysctlsOfLinks(netns, links);
  }

  test('is by netlink what it is by its files', async () => {
    const files = await byFile();
    expect(Object.keys(files).length).toBeGreaterThan(150);
    expect(await byNetlink()).toEqual(files);
  });

  test('is so with other values, each a different one where the kernel takes it', async () => {
    const usual = await byFile();
    inNetworkNamespace(netns, () => {
      for (const [at, path] of Object.keys(usual).entries())
        set(`/proc/sys/net/${path}`, [String(100 + at), '2', '1', '0']);
    });
    const files = await byFile();
    expect(Object.keys(files).filter((path) => files[path] !== usual[path]).length).toBeGreaterThan(150);
    expect(await byNetlink()).toEqual(files);
  });
});

/** The first of the values that the kernel takes, and that is another one. */
function set(path: string, values: readonly string[]): void {
  const before = readFileSync(path, 'utf8');
  for (const value of values) {
    try {
      writeFileSync(path, value);
      if (readFileSync(path, 'utf8') !== before) return;
    } catch {
      // Out of its range.
    }
  }
}
