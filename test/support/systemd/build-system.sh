#!/bin/sh
# Makes in a cache directory what stays from run to run of `npm run test:systemd`: `root`, a directory with Debian 13 that
# has systemd, Podman 5 and the packages that the project needs. Root; needs the network. Quick when all is there.
set -eu
cache=$1
here=$(cd "$(dirname "$0")" && pwd)
test=test:systemd
minutes=10
. "$here/../debian-system.sh"
host_packages='debootstrap debian-archive-keyring systemd-container'
guest_packages="$(project_packages) systemd systemd-sysv systemd-container dbus dbus-user-session libpam-systemd procps"

key=$(echo "$guest_packages" | cat - "$here/build-system.sh" "$here/../debian-system.sh" | sha256sum)
go_apart "$@"
begin
rm -rf "$cache/root"
install_debian trixie
finish_debian
# A container loads no kernel modules.
ln -s /dev/null "$root/etc/systemd/system/systemd-modules-load.service"
mv "$root" "$cache/root"
echo "$key" >"$cache/key"
