#!/bin/sh
# Makes in a cache directory what stays from run to run of `npm run test:vm`: `kernel` and `initramfs` of Debian 12 and
# `system.img`, a disk with Debian 12 and the packages that the project needs. Root; needs the network. Quick when all is there.
set -eu
cache=$1
here=$(cd "$(dirname "$0")" && pwd)

test=test:vm
minutes=15
. "$here/../debian-system.sh"
host_packages='qemu-system-x86 debootstrap debian-archive-keyring cpio e2fsprogs'
guest_packages="$(project_packages) kmod perl procps python3"
disk_modules='virtio_pci virtio_blk ext4'

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
  finish_debian
  step mkfs.ext4 -q -O ^has_journal -d "$root" "$building/system.img" 3G
}

key=$(echo "$guest_packages" | cat - "$here/build-system.sh" "$here/../debian-system.sh" "$here/initramfs-init.sh" | sha256sum)
go_apart "$@"
begin
install_debian bookworm
install_kernel
make_initramfs
make_disk
mv "$building/kernel" "$cache/kernel"
mv "$building/initramfs.cpio" "$cache/initramfs"
mv "$building/system.img" "$cache/system.img"
echo "$key" >"$cache/key"
