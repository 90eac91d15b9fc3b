#!/usr/bin/env bash
# A user's systemd manager of its own in namespaces of its own, and the installed units under it: nothing of the machine's
# systemd is touched. Run by daemon/tests/systemd.rs:
#   manager.sh SOURCES BUILT DIRECTORY     (DIRECTORY: short, empty)
# Ends with 75 where the kernel gives no cgroups to play with; with 1 and a sentence where something is wrong.
set -euo pipefail

if [ "${1:-}" != inside ]; then
    # As root a mount namespace is enough; others become root in a user namespace first.
    own=(); [ "$(id -u)" -eq 0 ] || own=(--user --map-root-user)
    exec unshare "${own[@]}" --mount --pid --fork --mount-proc --cgroup -- bash "$0" inside "$@"
fi
shift
sources=$1 built=$2 dir=$3

mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/0 /sys/fs/cgroup
chmod 700 /run/user/0
# Who lingers is this test's business.
[ ! -d /var/lib/systemd ] || mount -t tmpfs tmpfs /var/lib/systemd
mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 75
mkdir /sys/fs/cgroup/agentd-test.$$ 2>/dev/null || exit 75
rmdir /sys/fs/cgroup/agentd-test.$$

fail() {
    echo "FAILED: $*" >&2
    systemctl --user status agentd.service agentd.socket --no-pager >&2 || true
    tail -n 40 "$dir/manager.log" "$HOME/.local/state/agentd/agentd.log" >&2 || true
    exit 1
}
# What has no bell is looked at again, for a minute.
until_true() {
    local what=$1; shift
    for _ in $(seq 1200); do if "$@" >/dev/null 2>&1; then return 0; fi; sleep 0.05; done
    fail "in vain: $what"
}

export HOME=$dir/home XDG_RUNTIME_DIR=/run/user/0 USER=root
unset DBUS_SESSION_BUS_ADDRESS XDG_CONFIG_HOME XDG_STATE_HOME XDG_DATA_HOME NOTIFY_SOCKET
mkdir -p "$HOME/.config" "$dir/project"
dbus-daemon --session --address=unix:path=$XDG_RUNTIME_DIR/bus --nofork --nopidfile 2>/dev/null &
SYSTEMD_LOG_TARGET=console "$(command -v /lib/systemd/systemd /usr/lib/systemd/systemd | head -n1)" --user \
    >"$dir/manager.log" 2>&1 &
manager=$!
until_true "the manager listens" test -S $XDG_RUNTIME_DIR/systemd/private
until_true "the bus listens" test -S $XDG_RUNTIME_DIR/bus

bash "$sources/systemd/install.sh" install "$HOME/.local" "$built" >/dev/null
# A watchdog that a test can wait for.
mkdir -p "$HOME/.config/systemd/user/agentd.service.d"
printf '[Service]\nWatchdogSec=2\n' >"$HOME/.config/systemd/user/agentd.service.d/quick.conf"
systemctl --user daemon-reload
PATH=$HOME/.local/bin:$PATH
cd "$dir/project"
main_pid() { systemctl --user show --property=MainPID --value agentd.service; }
answers() { [ "$(main_pid)" != 0 ] && [ "$(main_pid)" != "$1" ] && agentctl daemon status --no-autostart; }

# Clients start the daemon through the unit.
[ "$(agentctl exec -- 'export KEPT=yes; echo begun')" = begun ] || fail "no command ran"
systemctl --user is-active --quiet agentd.service agentd.socket || fail "the client did not start the unit"
first=$(main_pid)
agentctl daemon status -o json | grep -q "\"pid\": *$first" || fail "the daemon is not the unit's process"
[ "$(stat -c %a "$HOME/.local/state/agentd")" = 700 ] || fail "the state directory is not private"
[ "$(stat -c %a $XDG_RUNTIME_DIR/agentd)" = 700 ] || fail "the runtime directory is not private"
[ "$(stat -c %a $XDG_RUNTIME_DIR/agentd/agentd.sock)" = 600 ] || fail "the socket is not private"
agentctl exec -- 'touch made'
[ "$(stat -c %a made)" = 644 ] || fail "what a command makes has the daemon's mask, not the person's"

# The jail has a scope of its own, and none of its processes is in the service.
scope=$(systemctl --user list-units --plain --no-legend 'agentd-jail-*.scope' | cut -d' ' -f1)
[ -n "$scope" ] || fail "no scope for the jail"
group=/sys/fs/cgroup$(systemctl --user show --property=ControlGroup --value "$scope")
[ "$(wc -l <"$group/cgroup.procs")" -ge 2 ] || fail "the jail is not in its scope"
[ "$(cat "/sys/fs/cgroup$(systemctl --user show --property=ControlGroup --value agentd.service)/cgroup.procs")" = "$first" ] ||
    fail "something but the daemon is in the service"
[ -z "$(agentctl exec -- 'tr "\0" "\n" </proc/self/environ | grep -E "^(XDG_RUNTIME_DIR|DBUS_)" || true')" ] ||
    fail "the way to the manager is known inside"

# A restart by systemd, a kill and a loop that hangs: each time another process, the same jail, the same shell.
jail=$(sort "$group/cgroup.procs" | tr '\n' ' ')
agentctl daemon restart
until_true "the restarted daemon answers" answers "$first"
second=$(main_pid)
kill -9 "$second"
until_true "systemd brings a killed daemon back" answers "$second"
third=$(main_pid)
# Stopped, it feeds no watchdog.
kill -STOP "$third"
until_true "the watchdog ends a daemon that hangs" answers "$third"
systemctl --user show --property=NRestarts --value agentd.service | grep -qx '[2-9]' || fail "not restarted by systemd"
[ "$(agentctl exec -- 'echo $KEPT')" = yes ] || fail "the shell's state is gone"
[ "$(sort "$group/cgroup.procs" | tr '\n' ' ')" = "$jail" ] || fail "the jail did not live through the restarts"

# Doctor knows where it is.
agentctl doctor -o json >"$dir/doctor.json"
grep -q 'systemd runs agentd' "$dir/doctor.json" || fail "doctor does not know the service"
grep -q 'scope of its own' "$dir/doctor.json" || fail "doctor does not know the scopes"

# Who leaves work behind hears what a logout does to it, and how to change that; then no more.
agentctl run -d --model demo hello >/dev/null 2>"$dir/detached" || fail "no detached run"
grep -q 'root does not linger' "$dir/detached" || fail "no word about the logout"
grep -q 'next: loginctl enable-linger' "$dir/detached" || fail "no word about the fix"
agentctl daemon status | grep -q 'does not linger' || fail "the status does not name the limit"
if mkdir -p /var/lib/systemd/linger 2>/dev/null && touch /var/lib/systemd/linger/root; then
    agentctl run -d --model demo --new hello >/dev/null 2>"$dir/detached" || fail "no detached run"
    ! grep -q 'linger' "$dir/detached" || fail "a warning without a reason"
fi

# Stopped is stopped: no question starts it again, and no process of a jail is left.
agentctl daemon stop
[ "$(main_pid)" = 0 ] || fail "the daemon is not stopped"
[ ! -e "$group" ] || [ ! -s "$group/cgroup.procs" ] || fail "the jail is still there"
! agentctl daemon status --no-autostart 2>/dev/null || fail "a question started the daemon"
[ "$(main_pid)" = 0 ] || fail "a question started the daemon"

# Where systemd listens, a connection is enough, and the saved state is back in a new jail.
systemctl --user start agentd.socket
[ "$(agentctl exec -- 'echo $KEPT')" = yes ] || fail "the state did not come back"
agentctl daemon stop

bash "$sources/systemd/install.sh" uninstall "$HOME/.local" "$built" >/dev/null
[ -z "$(find "$HOME/.local" -path '*/state' -prune -o -type f -print)" ] || fail "uninstall left something"
kill "$manager"
echo "all well"
