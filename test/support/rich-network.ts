import { execFileSync } from 'node:child_process';
import { inNetns, userNetnsHas } from './network-dump.ts';

/**
 * Gives a named network namespace everything that CNI plugins are known to make, and some more. Its eth0 belongs to the
 * bridge br0 (10.9.0.1) of this network namespace, in which it also makes the links veth-a, parent and parent-peer.
 */
export function makeRichNetwork(name: string): void {
  const outside = `
    ip link add veth-a type veth peer name eth0 netns ${name}
    ip link set veth-a master br0 up
    ip link add parent type veth peer name parent-peer
    ip link set parent up
    ip link add link parent name mac0 netns ${name} type macvlan mode bridge
  `;
  execFileSync('sh', ['-ec', outside], { stdio: 'pipe' });
  inNetns(name, 'sh', '-ec', INSIDE);
  if (userNetnsHas('core/somaxconn')) inNetns(name, 'sh', '-c', 'echo 4321 >/proc/sys/net/core/somaxconn');
  execFileSync('ip', ['netns', 'exec', name, 'nft', '-f', '-'], { input: NFT });
  // CNI plugins wait until the kernel has made sure that nobody else has an address.
  inNetns(
    name,
    'sh',
    '-c',
    'for i in $(seq 100); do ip address | grep -q tentative || exit 0; sleep 0.1; done; exit 1',
  );
}

const INSIDE = `
  ip link set lo up
  ip address add 127.9.9.9/8 dev lo
  ip link set eth0 address 02:11:22:33:44:55 mtu 1400 txqueuelen 777 alias nomad
  ip link property add dev eth0 altname front
  ip link property add dev eth0 altname a-rather-long-name-for-it
  ip link set eth0 up
  ip link set eth0 promisc on
  ip link set mac0 up
  ip link set mac0 allmulticast on
  ip link add down0 type veth peer name down1
  ip address add 10.9.0.7/16 broadcast + dev eth0
  ip address add 10.9.0.8/16 dev eth0
  ip address add 169.254.7.7/32 dev eth0 label eth0:ptp
  ip address add 192.168.7.1/24 dev mac0 noprefixroute
  ip address add 10.77.0.2/24 dev mac0 valid_lft 3000 preferred_lft 2000
  ip -6 address add fd00:9::7/64 dev eth0 nodad
  ip -6 address add fd00:9::8/64 dev eth0 noprefixroute nodad
  ip route add default via 10.9.0.1
  ip route add 10.50.0.0/16 via 10.9.0.1 metric 50 mtu 1300
  ip route add 10.50.0.0/16 via 10.9.0.2 metric 60
  ip route add table 100 default via 10.9.0.1 dev eth0 src 10.9.0.8
  ip route add table 101 local 0.0.0.0/0 dev lo
  ip route add unreachable 10.60.0.0/16
  ip route add table 300 10.70.0.0/16 nexthop via 10.9.0.1 weight 2 nexthop via 10.9.0.2
  ip route add 10.80.0.0/24 dev mac0 scope link
  ip -6 route add default via fd00:9::1
  ip -6 route add fd00:50::/64 via fd00:9::1 metric 77
  ip -6 route add table 200 fd00:70::/64 nexthop via fd00:9::1 nexthop via fd00:9::2
  ip -6 route add blackhole fd00:60::/64
  ip rule add from 10.9.0.8 lookup 100 priority 1000
  ip rule add fwmark 0x1/0xff iif eth0 lookup 100 priority 1001
  ip -6 rule add to fd00:70::/64 lookup 200 priority 1002
  ip neighbour add 10.9.0.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
  ip -6 neighbour add fd00:9::1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
  ip neighbour add proxy 10.9.0.99 dev eth0
  echo 80 >/proc/sys/net/ipv4/ip_unprivileged_port_start
  echo 1 >/proc/sys/net/ipv4/ip_forward
  echo 0 >/proc/sys/net/ipv4/conf/mac0/forwarding
  echo 2 >/proc/sys/net/ipv4/conf/eth0/rp_filter
  echo 1 >/proc/sys/net/ipv6/conf/mac0/disable_ipv6
  echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_ra
  echo 17 >/proc/sys/net/ipv4/neigh/eth0/gc_stale_time
  iptables-nft -t nat -N PROXY
  iptables-nft -t nat -A PROXY -p tcp -m comment --comment "to the proxy" -j REDIRECT --to-ports 15001
  iptables-nft -t nat -A OUTPUT -p tcp -m owner ! --uid-owner 101 -j PROXY
  iptables-nft -t filter -A INPUT -p udp -m multiport --dports 53,853 -m conntrack --ctstate NEW -j ACCEPT
  iptables-nft -t filter -A INPUT ! -p icmp -m limit --limit 5/min -j DROP
  ip6tables-nft -t filter -A INPUT -p tcp -m tcp --dport 80 -j REJECT
  iptables-legacy -t mangle -A PREROUTING -p tcp --dport 8080 -j MARK --set-mark 7
  ip6tables-legacy -t filter -A INPUT -s fd00::/8 -j DROP
  iptables-legacy -t filter -P FORWARD DROP
`;

const NFT = `
table inet own {
  comment "everything"
  counter hits { }
  quota much { over 25 mbytes }
  map ports { type inet_service : verdict; elements = { 80 : accept, 443 : drop }; }
  set nets { type ipv4_addr; flags interval; auto-merge; elements = { 10.1.0.0/16, 10.3.3.3 }; }
  set seen { type ipv4_addr; size 1000; flags dynamic,timeout; timeout 1m; }
  chain first {
    type filter hook input priority -10; policy accept;
    ct state established,related accept
    ip saddr @nets counter name "hits" drop comment "known"
    tcp dport vmap @ports
    tcp dport { 22, 2222-2230 } log prefix "ssh " accept
    ip saddr . tcp dport { 10.0.0.1 . 81, 10.0.0.2 . 82 } accept
    meta l4proto { tcp, udp } jump second
    iifname "eth0" ip6 saddr fd00::/8 meta mark set 0x2a
    limit rate over 10/second burst 5 packets drop
  }
  chain second {
    add @seen { ip saddr limit rate 5/second }
    quota name "much" drop
    return
  }
  chain nat {
    type nat hook postrouting priority srcnat;
    oifname "eth0" masquerade
  }
}
table arp resolution {
  chain in {
    type filter hook input priority 0;
    arp operation request counter accept
  }
}
`;
