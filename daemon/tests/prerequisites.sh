# Shared by `make demo`, `make test` and .ci/run: finds what is needed and, on the usual distributions, installs
# what is missing. Meant to be sourced (bash); changes nothing when everything is there.

fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    for next in "$@"; do printf '  next: %s\n' "$next" >&2; done
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        fail "this needs root, and there is no sudo: $*" "run it as root, then try again"
    fi
}

# The package that has a program: Debian's name, Fedora's, Arch's.
package_of() {
    case $1 in
        bwrap) echo bubblewrap bubblewrap bubblewrap ;;
        cc) echo "gcc+libc6-dev" gcc gcc ;;
        make | git | tmux | curl) echo "$1" "$1" "$1" ;;
        systemd-analyze) echo systemd systemd systemd ;;
        dbus-daemon) echo dbus dbus-daemon dbus ;;
        nginx) echo nginx-light nginx nginx ;;
        sshd) echo openssh-server openssh-server openssh ;;
        ssh) echo openssh-client openssh-clients openssh ;;
        python3) echo python3 python3 python ;;
        python3-venv) echo python3-venv python3 python ;;
        *) echo "$1" "$1" "$1" ;;
    esac
}

has_program() {
    case $1 in
        # Debian ships Python without the part of venv that brings pip.
        python3-venv) python3 -c 'import venv, ensurepip' >/dev/null 2>&1 ;;
        # Servers are not on everybody's path.
        nginx | sshd) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1 ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

# need_programs NAME…: installs those that are missing.
need_programs() {
    local missing=() name
    for name in "$@"; do
        has_program "$name" || missing+=("$name")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        echo "found: $*"
        return 0
    fi
    echo "missing: ${missing[*]}"
    local debian=() fedora=() arch=() d f a
    for name in "${missing[@]}"; do
        read -r d f a <<<"$(package_of "$name")"
        IFS=+ read -ra d <<<"$d"
        debian+=("${d[@]}") fedora+=("$f") arch+=("$a")
    done
    if has_program apt-get; then
        # A package list may be absent (fresh images) or stale.
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${debian[@]}" ||
            { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y \
                --no-install-recommends "${debian[@]}"; }
    elif has_program dnf; then
        as_root dnf install -y "${fedora[@]}"
    elif has_program pacman; then
        as_root pacman -S --needed --noconfirm "${arch[@]}"
    else
        fail "no apt-get, dnf or pacman here to install: ${missing[*]}" "install them, then try again"
    fi
    for name in "${missing[@]}"; do
        has_program "$name" || fail "'$name' is still missing after the installation"
    done
}

# need_rust: cargo and rustc, at least the version in Cargo.toml.
need_rust() {
    # rustup puts them here; a shell that was open before does not know yet.
    [ -d "$HOME/.cargo/bin" ] && PATH=$PATH:$HOME/.cargo/bin
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    if ! command -v cargo >/dev/null 2>&1; then
        fail "Rust $wanted or later is needed, and there is no cargo" \
            "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
    fi
    have=$(rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n%s\n' "$wanted" "${have%%-*}" | sort -V | head -n1)" != "$wanted" ]; then
        fail "Rust $wanted or later is needed, and this is $have" "rustup update stable"
    fi
    echo "found: rust $have"
}

# need_namespaces: an empty jail must start. Says which of the known causes it is when not.
need_namespaces() {
    local said
    if said=$(bwrap --unshare-user --unshare-pid --ro-bind / / --proc /proc --dev /dev true 2>&1); then
        echo "found: $(bwrap --version), and it can make jails"
        return 0
    fi
    local setting=/proc/sys/kernel/apparmor_restrict_unprivileged_userns
    if [ -r $setting ] && [ "$(cat $setting)" = 1 ]; then
        fail "AppArmor keeps bwrap from making jails: $said" "README.md, 'When user namespaces are blocked', has the profile"
    elif [ "$(cat /proc/sys/kernel/unprivileged_userns_clone 2>/dev/null)" = 0 ]; then
        fail "user namespaces are switched off: $said" "sudo sysctl -w kernel.unprivileged_userns_clone=1"
    elif [ "$(cat /proc/sys/user/max_user_namespaces 2>/dev/null)" = 0 ]; then
        fail "user namespaces are limited to none: $said" "sudo sysctl -w user.max_user_namespaces=65536"
    fi
    fail "bwrap can't make a jail here: $said" \
        "inside a container? Let it make user namespaces (docker run --security-opt seccomp=unconfined" \
        "  --security-opt apparmor=unconfined --security-opt systempaths=unconfined …)"
}
