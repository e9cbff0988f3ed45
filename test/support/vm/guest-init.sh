#!/bin/sh
# The first process of the emulated machine once its disks are there: gives it what a host has, runs what is to be run,
# its output to the second serial line (the first one is the kernel's), and ends the machine.
export PATH=/vm/project/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /tmp
chmod 755 / /vm
hostname vm
ip link set lo up

# What the kernel would not load by itself, or not for a user's network namespace.
for module in fuse tun overlay bridge veth macvlan nf_tables nf_conntrack br_netfilter \
  ip_tables iptable_filter iptable_nat iptable_mangle iptable_raw ip6_tables ip6table_filter ip6table_nat ip6table_mangle \
  ip6table_raw arp_tables arptable_filter; do
  modprobe "$module" || echo "no module $module"
done

stty -F /dev/ttyS1 raw 115200
cd /vm/project
# Through a pipe, so that nothing takes the line for a terminal.
{
  echo "the machine runs Linux $(uname -r)"
  sh /vm/run.sh 2>&1 </dev/null
  echo 'the machine has run everything'
} | cat >/dev/ttyS1
stty -F /dev/ttyS1 -raw
sync
busybox poweroff -f
