#!/bin/sh
# Makes in a cache directory what stays from run to run of `npm run test:systemd`: `root`, a directory with Debian 13 that
# has systemd, Podman 5 and the packages that the project needs. Root; needs the network. Quick when all is there.
set -eu
cache=$1
here=$(cd "$(dirname "$0")" && pwd)

host_packages='debootstrap debian-archive-keyring systemd-container'
guest_packages="$(sed -n "s/^debian_packages='\(.*\)'\$/\1/p" "$here/../../../scripts/setup.sh") \
systemd systemd-sysv systemd-container dbus dbus-user-session libpam-systemd procps"
building=$cache/building
root=$building/root
log=$building/log
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
minutes=10

say() { echo "test:systemd: $*"; }

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

# Where this machine gets Debian from; nothing where it is no Debian: debootstrap has its own default then.
mirror() {
  # shellcheck disable=SC2016 # apt's own variable
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1
}

install_debian() {
  say 'installing Debian 13 into a directory (a minute)'
  # shellcheck disable=SC2046 # one word or none
  step debootstrap --variant=minbase trixie "$root" $(mirror)
  mount -t proc proc "$root/proc"
  say "installing there: $guest_packages (a minute)"
  # shellcheck disable=SC2086 # a list of words
  step chroot "$root" apt-get install --quiet --yes --no-install-recommends $guest_packages
  umount "$root/proc"
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
  # A container loads no kernel modules.
  ln -s /dev/null "$root/etc/systemd/system/systemd-modules-load.service"
}

key=$(echo "$guest_packages" | cat - "$here/build-system.sh" | sha256sum)
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

rm -rf "$building" "$cache/key" "$cache/root"
mkdir "$building"
trap 'rm -rf --one-file-system "$building"' EXIT
install_debian
mv "$root" "$cache/root"
echo "$key" >"$cache/key"
