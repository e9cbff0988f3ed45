# shellcheck shell=sh
# Read by the build-system.sh of test:vm and of test:systemd, each of which makes a system of Debian in a cache directory and
# says first: `test`, its name; `here`, its directory; `cache`; `minutes`, how long one step may take; then `host_packages`, what
# this machine needs for it, `guest_packages`, what goes into the system, and `key`, which is another one when the system is to be.

building=$cache/building
root=$building/root
log=$building/log
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

# The packages that the project needs.
project_packages() { sed -n "s/^debian_packages='\(.*\)'\$/\1/p" "$here/../../../scripts/setup.sh"; }

say() { echo "$test: $*"; }

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

# Where this machine gets Debian from; nothing where it is no Debian, for debootstrap has a default of its own.
mirror() {
  # shellcheck disable=SC2016 # apt's own variable
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1
}

# Installs a release into the directory $root, with /proc mounted there.
install_debian() {
  say "installing Debian's $1 into a directory (a minute)"
  # shellcheck disable=SC2046 # one word or none
  step debootstrap --variant=minbase "$1" "$root" $(mirror)
  mount -t proc proc "$root/proc"
  say "installing there: $guest_packages (a minute)"
  step chroot "$root" apt-get update --quiet
  # shellcheck disable=SC2086 # a list of words
  step chroot "$root" apt-get install --quiet --yes --no-install-recommends $guest_packages
}

# Ends what only the installation needed.
finish_debian() {
  umount "$root/proc"
  rm -rf "$root"/var/tmp/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
}

# Has the script go on in namespaces of its own, where its mounts and processes end with it, and it with who started it.
# Takes the script's arguments.
go_apart() {
  [ "${2-}" != apart ] || return 0
  mkdir -p "$cache"
  install_host_packages
  apart='unshare --mount --pid --fork --kill-child --mount-proc'
  # shellcheck disable=SC2086 # a list of words
  exec setpriv --pdeathsig KILL $apart sh "$0" "$cache" apart
}

# Begins to build, one at a time. Ends the script where what is there has the same key.
begin() {
  exec 9>"$cache/lock"
  flock 9
  if [ -f "$cache/key" ] && [ "$(cat "$cache/key")" = "$key" ]; then exit 0; fi
  rm -rf "$building" "$cache/key"
  mkdir "$building"
  trap 'rm -rf --one-file-system "$building"' EXIT
}
