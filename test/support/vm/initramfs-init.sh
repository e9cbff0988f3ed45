#!/bin/busybox sh
# The first program of the emulated machine: loads what its disks need and goes over to guest-init.sh. The first disk is
# the system, the second holds the project.
/bin/busybox --install -s /bin
mkdir -p /dev /system
mount -t devtmpfs dev /dev
while read -r module; do insmod "/$module"; done </modules
mount -t ext4 -o noatime /dev/vda /system
mkdir -p /system/vm
mount -t ext4 -o noatime /dev/vdb /system/vm
mount --move /dev /system/dev
exec switch_root /system /bin/sh /vm/project/test/support/vm/guest-init.sh
