import { execFileSync, spawnSync } from 'node:child_process';

/** What the tools of the host say of a network namespace, cut down to what somebody has set: comparable with another dump. */
export interface NetworkDump {
  readonly links: unknown;
  readonly addresses: unknown;
  readonly routes: unknown;
  readonly rules: unknown;
  readonly neighbours: unknown;
  readonly nftables: string;
  readonly iptables: unknown;
  readonly sysctls: readonly string[];
}

/** Runs a command in a named network namespace (ip-netns(8)). @returns its standard output @throws Error when it fails */
export function inNetns(name: string, ...argv: readonly string[]): string {
  return execFileSync('ip', ['netns', 'exec', name, ...argv], { encoding: 'utf8', stdio: 'pipe' });
}

/**
 * Whether network namespaces of user namespaces have a parameter, by its path below /proc/sys/net. On Linux 6.1 they have
 * none of core/.
 */
export function userNetnsHas(parameter: string): boolean {
  return spawnSync('unshare', ['--user', '--net', 'test', '-e', `/proc/sys/net/${parameter}`]).status === 0;
}

/** Dumps a named network namespace with ip(8), nft(8), iptables-legacy-save(8) and from /proc/sys/net. */
export function dumpNetwork(name: string): NetworkDump {
  const ip = (...args: string[]): Record<string, unknown>[] =>
    JSON.parse(inNetns(name, 'ip', '-json', '-details', ...args) || '[]');
  return {
    links: ip('link').map(({ stats64: _, link_netnsid: __, qdisc: ___, ...link }) => link),
    addresses: ip('address').map(({ ifname, addr_info: list }) => ({ ifname, list: addressesOf(list) })),
    routes: [4, 6].map((version) => ip(`-${version}`, 'route', 'show', 'table', 'all').map(withoutExpiry).sort(byText)),
    rules: [4, 6].map((version) => ip(`-${version}`, 'rule')),
    neighbours: [...ip('neighbour', 'show', 'nud', 'permanent'), ...ip('neighbour', 'show', 'proxy')].sort(byText),
    // nft shows what iptables -m owner wrote without the word meta, and its own with it.
    nftables: inNetns(name, 'nft', 'list', 'ruleset').replaceAll('meta skuid', 'skuid'),
    iptables: ['iptables-legacy-save', 'ip6tables-legacy-save'].map((save) => tablesIn(inNetns(name, save))),
    sysctls: parametersOf(name),
  };
}

/** Every parameter that can be read and written, but those that the kernel gives to root's network namespaces alone. */
function parametersOf(name: string): string[] {
  // What cannot be read now, such as a secret that was never set, makes grep fail.
  const find = "find /proc/sys/net -type f -perm -u+rw -exec grep -sH '' {} + || true";
  const rootsAlone = userNetnsHas('core/somaxconn')
    ? /\/net\/(core\/xfrm_|ipv6\/route\/)/
    : /\/net\/(core|ipv6\/route)\//;
  return inNetns(name, 'sh', '-c', find)
    .split('\n')
    .filter((line) => !rootsAlone.test(line) && !line.includes('stable_secret'))
    .sort();
}

function addressesOf(list: unknown): unknown[] {
  if (!Array.isArray(list)) return [];
  const hundreds = (seconds: number) => Math.ceil(seconds / 100);
  return list
    .map((one) => ({
      ...one,
      preferred_life_time: hundreds(one.preferred_life_time),
      valid_life_time: hundreds(one.valid_life_time),
    }))
    .sort(byText);
}

/** The tables, in the order of their names, without counters and comments. */
function tablesIn(saved: string): string[] {
  const tables = saved.replace(/^#.*\n|\[\d+:\d+\]/gm, '').split(/^(?=\*)/m);
  return tables.sort();
}

function withoutExpiry({ expires: _, ...route }: Record<string, unknown>): unknown {
  return route;
}

function byText(a: unknown, b: unknown): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1;
}
