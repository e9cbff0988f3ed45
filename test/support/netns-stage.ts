import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { NetnsResource } from '../../src/resources/netns/netns.ts';
import type { PodmanNamespaces } from '../../src/resources/podman-namespaces.ts';
import { type NetnsResourceOptions, newNetnsResource } from './netns-resource.ts';
import { PodmanLikeProcess } from './podman-like-process.ts';

export const ALICE = 61001;
export const BOB = 61002;
export const ID = '11111111-2222-3333-4444-555555555555';
export const NETNS_FILE = `/run/netns/${ID}`;

/**
 * A stage for kernel tests of network namespaces: a bridge br0 (10.9.0.1/16, fd00:9::1/64), an allocation's network
 * namespace as Nomad makes it, bare at first, its directory, and alice's Podman, as far as the kernel can tell.
 */
export class NetnsStage {
  readonly base: string;
  alice: PodmanLikeProcess;
  readonly #namespaces: PodmanNamespaces[] = [];

  private constructor(base: string, alice: PodmanLikeProcess) {
    this.base = base;
    this.alice = alice;
  }

  static async set(): Promise<NetnsStage> {
    const base = mkdtempSync('/tmp/netns-');
    chmodSync(base, 0o755);
    mkdirSync(join(base, 'alloc', ID), { recursive: true });
    for (const uid of [ALICE, BOB]) {
      mkdirSync(join(base, String(uid)), { mode: 0o700 });
      chownSync(join(base, String(uid)), uid, uid);
    }
    sh('ip link add br0 type bridge; ip address add 10.9.0.1/16 dev br0; ip address add fd00:9::1/64 nodad dev br0');
    sh('ip link set br0 up');
    // Before the Podman is there, so that it is a slave of where the namespaces are mounted.
    sh(`ip netns add ${ID}`);
    const alice = await startPodman(base, ALICE, 'slave');
    return new NetnsStage(base, alice);
  }

  /** Takes everything away. */
  async strike(): Promise<void> {
    for (const namespaces of this.#namespaces) namespaces.close();
    await this.alice.stop();
    const pins = existsSync(join(this.base, 'state/netns')) ? readdirSync(join(this.base, 'state/netns')) : [];
    for (const pin of pins) sh(`umount '${join(this.base, 'state/netns', pin)}' 2>/dev/null || true`);
    if (existsSync(NETNS_FILE)) sh(`while umount ${NETNS_FILE} 2>/dev/null; do :; done; rm -f ${NETNS_FILE}`);
    sh('for link in br0 veth-a parent; do ip link delete $link 2>/dev/null || true; done');
    rmSync(this.base, { recursive: true });
  }

  newResource(options: NetnsResourceOptions = {}, uid = ALICE): NetnsResource {
    const { resource, namespaces } = newNetnsResource(this.base, uid, options);
    this.#namespaces.push(namespaces);
    return resource;
  }

  startPodman(uid: number, propagation: 'slave' | 'private' = 'slave'): Promise<PodmanLikeProcess> {
    return startPodman(this.base, uid, propagation);
  }

  /** Alice's Podman ends, and another one starts in a user namespace of its own. */
  async restartPodman(): Promise<void> {
    await this.alice.stop();
    this.alice = await this.startPodman(ALICE);
  }

  /** The network namespace made as Nomad makes it: bare. */
  make(id = ID): void {
    sh(`ip netns add ${id}`);
  }

  /** A network as the bridge plugin makes it: eth0 on br0 with an address of either family, default routes by br0. */
  makeBridged(id = ID, number = 7): void {
    const veth = id === ID ? 'veth-a' : `veth-${number}`;
    if (!existsSync(`/run/netns/${id}`)) this.make(id);
    // Without looking for duplicates of the link-local address, which would take a second and more.
    const detect = (value: number) =>
      `ip netns exec ${id} sh -c 'for f in /proc/sys/net/ipv6/conf/[!a]*/accept_dad; do echo ${value} >$f; done'`;
    sh(`
      ${detect(0)}
      ip link add ${veth} type veth peer name eth0 netns ${id}
      ip link set ${veth} master br0 up
      ip -n ${id} link set lo up
      ip -n ${id} link set eth0 up
      ip -n ${id} address add 10.9.0.${number}/16 broadcast + dev eth0
      ip -n ${id} address add fd00:9::${number}/64 nodad dev eth0
      ip -n ${id} route add default via 10.9.0.1
      ip -n ${id} -6 route add default via fd00:9::1
      until ip -n ${id} -6 route show table local | grep -q fe80; do :; done
      ${detect(1)}
    `);
  }

  /** What Nomad does in the end: unmounts once, and removes the file (client/lib/nsutil, UnmountNS). */
  tearDown(id = ID): void {
    sh(`umount --lazy /run/netns/${id}; rm /run/netns/${id}`);
  }

  /** Nomad's garbage collection. */
  removeAllocationDirectory(): void {
    rmSync(join(this.base, 'alloc', ID), { recursive: true });
  }

  /** What there is of migrations under way: names in the state directory. */
  journal(): string[] {
    const directory = join(this.base, 'state/netns');
    return existsSync(directory) ? readdirSync(directory) : [];
  }

  /** The uid that made the user namespace which owns the allocation's network namespace. */
  owner(): number {
    return Number(execFileSync('python3', ['-c', OWNER, NETNS_FILE], { encoding: 'utf8' }));
  }
}

/** NS_GET_USERNS and NS_GET_OWNER_UID, ioctl_ns(2). */
const OWNER = `
import fcntl, os, struct, sys
user = fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0xb701)
print(struct.unpack('I', fcntl.ioctl(user, 0xb704, struct.pack('I', 0)))[0])
`;

function startPodman(base: string, uid: number, propagation: 'slave' | 'private'): Promise<PodmanLikeProcess> {
  const socket = join(base, String(uid), 'podman.sock');
  rmSync(socket, { force: true });
  return PodmanLikeProcess.start(uid, socket, propagation);
}

function sh(script: string): void {
  execFileSync('sh', ['-ec', script], { stdio: 'pipe' });
}
