import { readdirSync } from 'node:fs';
import { isIP } from 'node:net';
import { mustRun } from './command.ts';
import { mountsOfThisNamespaceBelow, netnsFiles } from './leftovers.ts';
import type { NomadUnderTest } from './nomad-under-test.ts';

/** Links that the kernel itself makes in every network namespace while their modules are loaded. */
const FALLBACK_LINKS = [
  'lo',
  'tunl0',
  'gre0',
  'gretap0',
  'erspan0',
  'sit0',
  'ip_vti0',
  'ip6_vti0',
  'ip6tnl0',
  'ip6gre0',
];

/** What an allocation's network adds to iptables: its chains, its id in comments, its own address. */
const OF_AN_ALLOCATION = [
  /\bCNI-(DN-|SN-)?[0-9a-f]{19,}/,
  /\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/,
  /^-A CNI-FORWARD .*\/(32|128) /,
];

/**
 * Everything that networks of groups have left on the host, in words: network namespaces and what is mounted below
 * /run/netns, links other than the bridge, leases of mode `bridge`, and iptables rules. The bridge and the rules for all of
 * it are no leftovers: Nomad keeps them.
 */
export async function networkLeftovers({ leaseDir }: Pick<NomadUnderTest, 'leaseDir'>): Promise<string[]> {
  return [
    ...netnsFiles().map((file) => `network namespace ${file}`),
    ...mountsOfThisNamespaceBelow('/run/netns')
      .filter(({ fsType }) => fsType === 'nsfs')
      .map(({ mountPoint, root }) => `mount ${mountPoint} of ${root}`),
    ...(await links()).map((name) => `link ${name}`),
    ...leases(leaseDir).map((address) => `lease ${address}`),
    ...(await rules('iptables-save')),
    ...(await rules('ip6tables-save')),
  ];
}

async function links(): Promise<string[]> {
  const all: { ifname: string; linkinfo?: { info_kind?: string } }[] = JSON.parse(
    await mustRun(['ip', '-json', '-details', 'link', 'show']),
  );
  return all
    .filter(({ ifname, linkinfo }) => !FALLBACK_LINKS.includes(ifname) && linkinfo?.info_kind !== 'bridge')
    .map(({ ifname }) => ifname);
}

/** host-local names the file of a lease for its address; beside them lie a lock and the address given last. */
function leases(directory: string): string[] {
  try {
    return readdirSync(directory).filter((name) => isIP(name) !== 0);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

/** The iptables rules of allocations, in words. */
export async function rules(save: 'iptables-save' | 'ip6tables-save'): Promise<string[]> {
  const lines = (await mustRun([save])).split('\n');
  return lines
    .filter((line) => OF_AN_ALLOCATION.some((pattern) => pattern.test(line)))
    .map((line) => `${save}: ${line}`);
}

/** Takes the iptables rules of allocations off the host, for a test that has left some on purpose. */
export async function removeRules(): Promise<void> {
  for (const tool of ['iptables', 'ip6tables']) {
    const lines = (await mustRun([`${tool}-save`])).split('\n');
    const others = lines.filter((line) => !OF_AN_ALLOCATION.some((pattern) => pattern.test(line)));
    await mustRun([`${tool}-restore`], { input: others.join('\n') });
  }
}
