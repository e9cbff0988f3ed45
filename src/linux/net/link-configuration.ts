/**
 * What a link has for itself, as the kernel tells it by netlink (IFLA_INET_CONF and IFLA_INET6_CONF): numbers of 32 bits,
 * in hexadecimal digits to compare. Without stable_secret, which it does not tell.
 */
export interface LinkConfiguration {
  readonly ipv4: string;
  readonly ipv6: string;
}

/**
 * Files below net/ipv4/conf/<link> in the order of their numbers: IPV4_DEVCONF_* in include/uapi/linux/ip.h,
 * net/ipv4/devinet.c. Empty: what can only be read.
 */
const IPV4: readonly string[] = [
  ...['forwarding', '', 'proxy_arp', 'accept_redirects', 'secure_redirects', 'send_redirects'],
  ...['shared_media', 'rp_filter', 'accept_source_route', 'bootp_relay', 'log_martians', 'tag', 'arp_filter'],
  ...['medium_id', 'disable_xfrm', 'disable_policy', 'force_igmp_version', 'arp_announce', 'arp_ignore'],
  ...['promote_secondaries', 'arp_accept', 'arp_notify', 'accept_local', 'src_valid_mark', 'proxy_arp_pvlan'],
  ...['route_localnet', 'igmpv2_unsolicited_report_interval', 'igmpv3_unsolicited_report_interval'],
  ...['ignore_routes_with_linkdown', 'drop_unicast_in_l2_multicast', 'drop_gratuitous_arp', 'bc_forwarding'],
  ...['arp_evict_nocarrier'],
];
/**
 * The same below net/ipv6/conf/<link>: DEVCONF_* in include/uapi/linux/ipv6.h, net/ipv6/addrconf.c. Empty, too: a time that
 * the two give in different units, a number without a sign, and what has no file.
 */
const IPV6: readonly string[] = [
  ...['forwarding', 'hop_limit', 'mtu', 'accept_ra', 'accept_redirects', 'autoconf', 'dad_transmits'],
  ...['router_solicitations', '', '', 'use_tempaddr', 'temp_valid_lft', 'temp_prefered_lft', 'regen_max_retry'],
  ...['max_desync_factor', 'max_addresses', 'force_mld_version', 'accept_ra_defrtr', 'accept_ra_pinfo'],
  ...['accept_ra_rtr_pref', '', 'accept_ra_rt_info_max_plen', 'proxy_ndp', 'optimistic_dad', 'accept_source_route'],
  ...['', 'disable_ipv6', 'accept_dad', 'force_tllao', 'ndisc_notify', '', '', 'suppress_frag_ndisc'],
  ...['accept_ra_from_local', 'use_optimistic', 'accept_ra_mtu', '', 'use_oif_addrs_only', 'accept_ra_min_hop_limit'],
  ...['ignore_routes_with_linkdown', 'drop_unicast_in_l2_multicast', 'drop_unsolicited_na', 'keep_addr_on_down', ''],
  ...['seg6_enabled', 'seg6_require_hmac', 'enhanced_dad', 'addr_gen_mode', 'disable_policy'],
  ...['accept_ra_rt_info_min_plen', 'ndisc_tclass', 'rpl_seg_enabled', '', 'ioam6_enabled', '', ''],
  ...['ndisc_evict_nocarrier', 'accept_untracked_na', 'accept_ra_min_lft'],
];
const PLACES = { ipv4: placesOf(IPV4), ipv6: placesOf(IPV6) };
/** Hexadecimal digits of a number. */
const DIGITS = 8;

/** @param inet, inet6 undefined where the link has none */
export function linkConfiguration(inet: Buffer | undefined, inet6: Buffer | undefined): LinkConfiguration {
  return { ipv4: inet?.toString('hex') ?? '', ipv6: inet6?.toString('hex') ?? '' };
}

/**
 * What the configuration tells of a file in `ipv4/conf/<link>` or `ipv6/conf/<link>`, as the file has it; undefined where it
 * does not.
 */
export function toldValue(configuration: LinkConfiguration, ip: 'ipv4' | 'ipv6', name: string): string | undefined {
  const at = PLACES[ip].get(name);
  const digits = at === undefined ? '' : configuration[ip].slice(at * DIGITS, (at + 1) * DIGITS);
  return digits.length === DIGITS ? String(Buffer.from(digits, 'hex').readInt32LE()) : undefined;
}

function placesOf(names: readonly string[]): ReadonlyMap<string, number> {
  return new Map(names.flatMap((name, at) => (name === '' ? [] : [[name, at] as const])));
}
