#!/bin/sh
# Makes in a cache directory what stays from run to run of `npm run test:vm`: `kernel` and `initramfs` of Debian 12 and
# `system.img`, a disk with Debian 12 and the packages that the project needs. Root; needs the network. Quick when all is there.
set -eu
cache=$1
here=$(cd "$(dirname "$0")" && pwd)

host_packages='qemu-system-x86 debootstrap debian-archive-keyring cpio e2fsprogs'
guest_packages="$(sed -n "s/^debian_packages='\(.*\)'\$/\1/p" "$here/../../../scripts/setup.sh") kmod perl procps python3"
disk_modules='virtio_pci virtio_blk ext4'
building=$cache/building
root=$building/root
log=$building/log
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
minutes=15

say() { echo "test:vm: $*"; }

# Runs a long step, its output to the log, which is shown where it fails.
step() {
  timeout "${minutes}m" "$@" >>"$log" 2>&1 </dev/null && return
  tail -n 30 "$log" >&2
  say "failed, or took longer than $minutes minutes: $*" >&2
  return 1
}

install_host_packages() {
  log=$cache/install.log
  missing=
  for package in $host_packages; do
    # shellcheck disable=SC2016 # dpkg's own variable
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  say "installing the Debian packages:$missing"
  step apt-get update --quiet
  # shellcheck disable=SC2086 # a list of words
  step apt-get install --quiet --yes --no-install-recommends $missing
  rm "$log"
}

install_debian() {
  say 'installing Debian 12 into a directory (a minute)'
  step debootstrap --variant=minbase bookworm "$root"
  mount -t proc proc "$root/proc"
  say "installing there: $guest_packages (a minute)"
  step chroot "$root" apt-get update --quiet
  # shellcheck disable=SC2086 # a list of words
  step chroot "$root" apt-get install --quiet --yes --no-install-recommends $guest_packages
}

install_kernel() {
  package=$(chroot "$root" apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-6\.1[^ ]*\)$/\1/p')
  say "fetching $package"
  step chroot "$root" sh -c "cd /var/tmp && apt-get download --quiet $package"
  version=${package#linux-image-}
  dpkg -x "$root"/var/tmp/linux-image-*.deb "$building/package"
  mv "$building/package/boot/vmlinuz-$version" "$building/kernel"
  mv "$building/package/lib/modules" "$root/usr/lib/modules"
  # Drivers of hardware that the machine has not.
  modules=$root/usr/lib/modules/$version/kernel
  rm -rf "$modules/drivers/gpu" "$modules/drivers/media" "$modules/drivers/net/ethernet" "$modules/drivers/net/wireless" "$modules/sound"
  chroot "$root" depmod "$version"
}

make_initramfs() {
  mkdir -p "$building/initramfs/bin"
  cp "$root/bin/busybox" "$building/initramfs/bin/busybox"
  cp "$here/initramfs-init.sh" "$building/initramfs/init"
  chmod 755 "$building/initramfs/init"
  # shellcheck disable=SC2086 # a list of words
  chroot "$root" modprobe --all --show-depends --set-version "$version" $disk_modules |
    sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' |
    while read -r module; do
      cp "$root$module" "$building/initramfs/"
      basename "$module" >>"$building/initramfs/modules"
    done
  (cd "$building/initramfs" && find . | cpio --create --format=newc --quiet) >"$building/initramfs.cpio"
}

make_disk() {
  say 'making the disk of it'
  rm -rf "$root"/var/tmp/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
  umount "$root/proc"
  step mkfs.ext4 -q -O ^has_journal -d "$root" "$building/system.img" 3G
}

key=$(echo "$guest_packages" | cat - "$here/build-system.sh" "$here/initramfs-init.sh" | sha256sum)
mkdir -p "$cache"

# The rest in namespaces of its own: its mounts and processes end with it, and it with who started it.
if [ "${2-}" != apart ]; then
  install_host_packages
  apart='unshare --mount --pid --fork --kill-child --mount-proc'
  # shellcheck disable=SC2086 # a list of words
  exec setpriv --pdeathsig KILL $apart sh "$here/build-system.sh" "$cache" apart
fi

# One at a time.
exec 9>"$cache/lock"
flock 9
if [ -f "$cache/key" ] && [ "$(cat "$cache/key")" = "$key" ]; then exit 0; fi

rm -rf "$building" "$cache/key"
mkdir "$building"
trap 'rm -rf "$building"' EXIT
install_debian
install_kernel
make_initramfs
make_disk
mv "$building/kernel" "$cache/kernel"
mv "$building/initramfs.cpio" "$cache/initramfs"
mv "$building/system.img" "$cache/system.img"
echo "$key" >"$cache/key"
