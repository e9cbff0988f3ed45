import { mustRun, runCommand } from '../command.ts';
import type { Conflist } from './cni.ts';

/** Name of the bridge on the host, and of its network. */
export const BRIDGE = 'nomad';

/** The chain in which Nomad lets traffic to the bridge through, of which the firewall plugin knows. */
const ADMIN_CHAIN = 'NOMAD-ADMIN';

/** What mode `bridge` is made of. */
export interface BridgeOptions {
  readonly subnet: string;
  /** Without it allocations have no IPv6 address. */
  readonly subnetIpv6?: string | undefined;
  /** Where host-local keeps its leases, in a directory named for the network. */
  readonly leasesDir: string;
}

/** The plugins that Nomad 2.0.5 chains for mode `bridge`, and what it asks of them (client/allocrunner/cni). */
export function bridgeConflist({ subnet, subnetIpv6, leasesDir }: BridgeOptions): Conflist {
  const families = [{ subnet, everywhere: '0.0.0.0/0' }];
  if (subnetIpv6 !== undefined) families.push({ subnet: subnetIpv6, everywhere: '::/0' });
  const ipam = {
    type: 'host-local',
    dataDir: leasesDir,
    ranges: families.map((family) => [{ subnet: family.subnet }]),
    routes: families.map(({ everywhere }) => ({ dst: everywhere })),
  };
  return {
    cniVersion: '0.4.0',
    name: BRIDGE,
    plugins: [
      { type: 'loopback' },
      { type: 'bridge', bridge: BRIDGE, ipMasq: true, isGateway: true, forceAddress: true, hairpinMode: false, ipam },
      { type: 'firewall', backend: 'iptables', iptablesAdminChainName: ADMIN_CHAIN },
      { type: 'portmap', capabilities: { portMappings: true }, snat: true },
    ],
  };
}

/** Lets traffic to the bridge's subnets through, as Nomad does before each ADD: the chain and its rule, where missing. */
export async function ensureForwardingRules({ subnet, subnetIpv6 }: BridgeOptions): Promise<void> {
  await ensureForwardingRule('iptables', subnet);
  if (subnetIpv6 !== undefined) await ensureForwardingRule('ip6tables', subnetIpv6);
}

async function ensureForwardingRule(iptables: string, subnet: string): Promise<void> {
  const rule = [ADMIN_CHAIN, '--out-interface', BRIDGE, '--destination', subnet, '--jump', 'ACCEPT'];
  const chain = await runCommand([iptables, '--wait', '--list-rules', ADMIN_CHAIN]);
  if (chain.code !== 0) await mustRun([iptables, '--wait', '--new-chain', ADMIN_CHAIN]);
  const found = await runCommand([iptables, '--wait', '--check', ...rule]);
  if (found.code !== 0) await mustRun([iptables, '--wait', '--append', ...rule]);
}
