#!/bin/sh
# The first process of the throwaway namespaces that namespaces.ts makes (mount, net, pid, uts, ipc, cgroup). It gives
# them what rootless Podman needs, without a change to the machine, runs the command it is given, and takes in orphans.
# Everything it makes lies on tmpfs in its own mount namespace: when this process ends, by kill -9 too, it is gone.
set -eu

# New mounts have to reach the mount namespaces that rootless Podman makes, as they do where systemd has set up the host.
mount --make-rshared /

mount -t tmpfs -o mode=755 run /run
sandbox=/run/sandbox
mkdir -p $sandbox/dev/net $sandbox/dev/pts $sandbox/dev/shm $sandbox/dev/mqueue $sandbox/home /run/user /run/netns
mkdir -m 1777 $sandbox/tmp /run/lock

# A copy of /etc with accounts of its own: users and subordinate ids can be added, and none of the machine's is in their way.
# What the machine says to Podman and to the agent stays outside, too.
cp -a /etc $sandbox/etc
mount --bind $sandbox/etc /etc
cat >/etc/passwd <<'END'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
END
cat >/etc/group <<'END'
root:x:0:
daemon:x:1:
tty:x:5:
nogroup:x:65534:
END
: >/etc/subuid
: >/etc/subgid
printf '%s: files\n' passwd group shadow subid >/etc/nsswitch.conf
echo 'hosts: files dns' >>/etc/nsswitch.conf
rm -rf /etc/containers /etc/nomad-rootless
unset NOMAD_ADDR NOMAD_TOKEN NOMAD_NAMESPACE NOMAD_REGION NOMAD_CACERT NOMAD_CAPATH NOMAD_CLIENT_CERT NOMAD_CLIENT_KEY \
  NOMAD_TLS_SERVER_NAME NOMAD_SKIP_VERIFY CONTAINERS_CONF CONTAINERS_CONF_OVERRIDE CONTAINERS_STORAGE_CONF CONTAINER_HOST

# /dev with the nodes a container needs; tun and fuse open to everybody, as udev has them on a real host.
device() { mknod -m 666 "$sandbox/dev/$1" c "$2" "$3"; }
device null 1 3
device zero 1 5
device full 1 7
device random 1 8
device urandom 1 9
device tty 5 0
device fuse 10 229
device net/tun 10 200
ln -s /proc/self/fd $sandbox/dev/fd
ln -s /proc/self/fd/0 $sandbox/dev/stdin
ln -s /proc/self/fd/1 $sandbox/dev/stdout
ln -s /proc/self/fd/2 $sandbox/dev/stderr
ln -s pts/ptmx $sandbox/dev/ptmx
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts $sandbox/dev/pts
chmod 1777 $sandbox/dev/shm
mount --rbind $sandbox/dev /dev

# sysfs of this network namespace, and cgroup v2 alone: a host with hybrid cgroups shows Podman version 1 otherwise, and
# Nomad too as long as version 1 is mounted anywhere below.
if mountpoint -q /sys/fs/cgroup; then umount -R /sys/fs/cgroup; fi
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup

ip link set lo up

export TMPDIR=$sandbox/tmp HOME=$sandbox/home
: >$sandbox/ready

"$@" &
command=$!
# Orphans (conmon, Podman's pause process) are this process's to reap: a shell's wait takes in whatever ends.
status=0
wait "$command" || status=$?
exit "$status"
