# shellcheck shell=sh
# Part of each script that the package manager runs (maintainer-scripts.ts).
set -e

unit=nomad-rootless.service
library=/usr/lib/nomad-rootless
config=/etc/nomad-rootless/config.yaml
state=/var/lib/nomad-rootless
run=/run/nomad-rootless
# What of the program stays after a removal, where something of ours is left on the host.
kept=$state/removed

say() { echo "nomad-rootless: $*"; }

systemd_runs() { [ -d /run/systemd/system ]; }

# $1 is empty at the first installation. Nothing is started that does not run already. Who runs is started again with what was
# unpacked: systemd keeps the gates meanwhile, so that no request and no start of a task fails, and tasks are no children of it.
after_unpacking() {
  rm -rf "$kept"
  if systemd_runs; then
    systemctl daemon-reload
    systemctl try-restart "$unit" || say "the agent did not start again: see journalctl --unit=$unit" >&2
  fi
  if [ -e "/etc/systemd/system/$unit" ]; then
    say "/etc/systemd/system/$unit comes before the unit of this package; remove it unless it is meant to" >&2
  fi
  [ -n "$1" ] || say 'nothing is started yet: nomad-rootless setup USER prepares a user and starts the agent'
}

before_removal() {
  if [ -x /usr/bin/systemctl ]; then systemctl --quiet disable "$unit" || true; fi
  if systemd_runs; then
    systemctl stop "$unit"
    # The gates that systemd keeps: who asks them is refused from now on, and does not wait for an agent that never comes.
    systemctl clean --what=fdstore "$unit" || true
  fi
  keep_cleanup
}

# Says what is left, and keeps what takes it away: the program itself, which is about to go.
keep_cleanup() {
  [ -d "$run" ] || return 0
  if ! left=$("$library/nomad-rootless.mjs" cleanup --dry-run 2>&1); then
    say 'cannot say what is left on this host:' >&2
  elif ! echo "$left" | grep -q '^would remove '; then
    return 0
  else
    say 'the agent is stopped. Tasks that run go on; this is left for them, and of those before:'
  fi
  echo "$left" | sed 's/^would remove /  /'
  rm -rf "$kept"
  install -d -m 0700 "$state" "$kept"
  cp --archive --link "$library" "$kept/program" 2>/dev/null || cp --archive "$library" "$kept/program"
  [ ! -e "$config" ] || cp --preserve=mode "$config" "$kept/config.yaml"
  cat >"$kept/cleanup" <<'END'
#!/bin/sh
# Does what `nomad-rootless cleanup` did before the package was removed.
here=$(dirname "$0")
if [ -e "$here/config.yaml" ]; then set -- --config "$here/config.yaml" "$@"; fi
exec "$here/program/node" "$here/program/nomad-rootless.mjs" cleanup "$@"
END
  chmod 0700 "$kept/cleanup"
  say "to take that away, stop the tasks first and then run $kept/cleanup, which is nomad-rootless cleanup; purging the package does so too"
}

after_removal() {
  if systemd_runs; then systemctl daemon-reload; fi
}

purge() {
  if [ -x "$kept/cleanup" ]; then
    "$kept/cleanup" || say 'cleanup failed; mounts of ours that are left go with the next boot' >&2
  fi
  rm -rf /etc/nomad-rootless "$state"
  # Below mounts lie the files of tasks.
  if grep -q " $run/" /proc/self/mountinfo; then
    say "$run stays until the next boot: mounts of ours are left there" >&2
  else
    rm -rf --one-file-system "$run"
  fi
}
