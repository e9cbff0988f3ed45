#!/bin/sh
# Installs what the project needs and this machine lacks: the npm packages and, as root on Debian or Ubuntu, the Debian
# packages. POSIX sh, because it has to run where node is old or node_modules is missing. Quick when all is there.
set -eu
cd "$(dirname "$0")/.."

debian_packages='podman crun uidmap slirp4netns passt fuse-overlayfs netavark containernetworking-plugins busybox-static acl iproute2 iptables nftables python3 chromium-headless-shell'
stamp=node_modules/.setup-stamp

install_npm_packages() {
  if [ -f "$stamp" ] && cmp -s package-lock.json "$stamp"; then return; fi
  # npm ci refuses a lock file that lacks other platforms' optional packages; this keeps to the lock file all the same.
  echo 'setup: installing the npm packages of package-lock.json (npm install --no-save)'
  npm install --no-save --no-audit --no-fund --loglevel=error </dev/null
  cp package-lock.json "$stamp"
}

missing_debian_packages() {
  # shellcheck disable=SC2016,SC2086 # dpkg's own variables; a list of words
  installed=$(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' $debian_packages 2>/dev/null | sed -n 's/^installed //p')
  for package in $debian_packages; do
    printf '%s\n' "$installed" | grep -qx "$package" || printf '%s ' "$package"
  done
}

install_debian_packages() {
  if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: this is neither Debian nor Ubuntu; see to it yourself that these are installed: $debian_packages"
    return
  fi
  missing=$(missing_debian_packages)
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    echo "setup: not root, so these Debian packages stay missing: $missing"
    return
  fi
  echo "setup: installing the Debian packages: $missing"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update --quiet --quiet
  # shellcheck disable=SC2086 # a list of words
  apt-get install --quiet --quiet --yes --no-install-recommends $missing </dev/null
}

install_npm_packages
install_debian_packages
