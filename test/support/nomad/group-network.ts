import PQueue from 'p-queue';
import { messageOf } from '../../../src/errors.ts';
import { type BridgeOptions, bridgeConflist, ensureForwardingRules } from './bridge.ts';
import { type Attachment, CniNetwork, type CniResult, type Conflist } from './cni.ts';
import { CniCache } from './cni-cache.ts';
import type { JobSpec } from './job.ts';
import { createNetns, destroyNetns } from './netns.ts';
import { type AllocatedPort, portMappings } from './ports.ts';
import type { NetworkStatus } from './recorded.ts';

/** How a node makes the networks of groups. */
export interface NetworkOptions {
  /** Directory of the CNI plugins; that of CNI_PATH, or else Debian's, unless told. */
  readonly pluginDir?: string;
  /** IPv4 subnet of mode `bridge`; Nomad's default unless told. */
  readonly subnet?: string;
  /** IPv6 subnet of mode `bridge`; none unless told. */
  readonly subnetIpv6?: string;
  /** What the modes `cni/<name>` are made of: a chain named `<name>` each. */
  readonly chains?: readonly Conflist[];
  /** Where what the plugins have answered is kept as libcni keeps it in /var/lib/cni; nowhere unless told. */
  readonly cacheDir?: string;
}

/** The environment's, or where Debian's package containernetworking-plugins lies. */
export const PLUGIN_DIR = process.env.CNI_PATH ?? '/usr/lib/cni';

const SUBNET = '172.26.64.0/20';

/** The network of an allocation's group. */
export interface GroupNetwork {
  /** Path of its network namespace. */
  readonly netns: string;
  /** What the CNI plugins have given it; undefined in mode `none`. */
  readonly status: NetworkStatus | undefined;
}

/** What has been made for an allocation. */
interface Made {
  /** Undefined in mode `none`. */
  readonly network: CniNetwork | undefined;
  readonly attachment: Attachment;
}

/** Makes and takes away the networks of groups with a network namespace of their own, as Nomad's client does on one node. */
export class GroupNetworks {
  readonly #bridge: BridgeOptions;
  readonly #networks: ReadonlyMap<string, CniNetwork | undefined>;
  readonly #made = new Map<string, Made>();
  /** Nomad adds, checks and deletes under one lock for all allocations. */
  readonly #lock = new PQueue({ concurrency: 1 });

  /** @param leasesDir where host-local keeps the leases of mode `bridge` */
  constructor(options: NetworkOptions, leasesDir: string) {
    const { pluginDir = PLUGIN_DIR, subnet = SUBNET, subnetIpv6, chains = [], cacheDir } = options;
    const cache = cacheDir === undefined ? undefined : new CniCache(cacheDir);
    this.#bridge = { subnet, subnetIpv6, leasesDir };
    this.#networks = new Map([
      ['none', undefined],
      ['bridge', new CniNetwork(bridgeConflist(this.#bridge), pluginDir, cache)],
      ...chains.map((chain): [string, CniNetwork] => [`cni/${chain.name}`, new CniNetwork(chain, pluginDir, cache)]),
    ]);
  }

  /** Whether this node has networks of a mode. */
  has(mode: string): boolean {
    return this.#networks.has(mode);
  }

  /**
   * Makes the network namespace and, in every mode but `none`, has the CNI plugins attach it: once, where Nomad tries three
   * times. @throws Error in Nomad's words; what there is by then is left to `destroy`
   */
  async create(allocationId: string, job: JobSpec, ports: readonly AllocatedPort[]): Promise<GroupNetwork> {
    const mode = job.networkMode ?? 'host';
    const network = this.#networks.get(mode);
    const netns = await createNetns(allocationId);
    const args = argumentsFor(allocationId, job);
    const attachment = { containerId: allocationId, netns, portMappings: portMappings(ports), args };
    this.#made.set(allocationId, { network, attachment });
    if (!network) return { netns, status: undefined };
    try {
      const result = await this.#lock.add(async () => {
        if (mode === 'bridge') await ensureForwardingRules(this.#bridge);
        return network.add(attachment);
      });
      return { netns, status: statusOf(result) };
    } catch (error) {
      throw new Error(`failed to configure networking for alloc: failed to configure network: ${messageOf(error)}`);
    }
  }

  /** CNI CHECK, as of a client that has been started again. @throws Error with what the plugin says that finds a fault */
  async check(allocationId: string): Promise<void> {
    const { network, attachment } = this.#made.get(allocationId) ?? {};
    if (!network || !attachment) throw new Error(`allocation ${allocationId} has no network of CNI plugins`);
    await this.#lock.add(() => network.check(attachment));
  }

  /** What a client that is killed while it stops an allocation does of its network, for good: nothing. */
  forget(allocationId: string): void {
    this.#made.delete(allocationId);
  }

  /** Has the CNI plugins delete what they have added, then takes away the network namespace, whatever they say. */
  async destroy(allocationId: string): Promise<void> {
    const made = this.#made.get(allocationId);
    if (!made) return;
    this.#made.delete(allocationId);
    const { network, attachment } = made;
    try {
      if (network) await this.#lock.add(() => network.del(attachment));
    } finally {
      await destroyNetns(allocationId);
    }
  }
}

/** CNI_ARGS. */
function argumentsFor(allocationId: string, job: JobSpec): Record<string, string> {
  return {
    IgnoreUnknown: 'true',
    NOMAD_REGION: 'global',
    NOMAD_NAMESPACE: job.namespace ?? 'default',
    NOMAD_JOB_ID: job.id,
    NOMAD_GROUP_NAME: job.group ?? 'g',
    NOMAD_ALLOC_ID: allocationId,
  };
}

/** The addresses of the first interface in the namespace that has any. @throws Error where none has */
function statusOf({ interfaces = [], ips = [] }: CniResult): NetworkStatus {
  const inside = interfaces.filter(({ sandbox = '' }) => sandbox !== '').toSorted((a, b) => (a.name < b.name ? -1 : 1));
  for (const one of inside) {
    const own = ips.filter((ip) => ip.interface !== undefined && interfaces[ip.interface] === one);
    const addresses = own.map(({ address }) => address.replace(/\/.*/, ''));
    const ipv4 = addresses.find((address) => !address.includes(':'));
    const ipv6 = addresses.find((address) => address.includes(':'));
    const address = ipv4 ?? ipv6;
    if (address) return { InterfaceName: one.name, Address: address, AddressIPv6: ipv6 ?? '', DNS: null };
  }
  throw new Error('no interface with an address');
}
