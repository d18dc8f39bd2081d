# What the scripts in the chroots share.
# shellcheck shell=bash
set -eu
cd /packages
export DEBIAN_FRONTEND=noninteractive

passed() { echo "  ok: $1"; }
failed() {
    echo "  FAILED: $1" >&2
    exit 1
}
# expect WHAT COMMAND...
expect() {
    local what=$1
    shift
    "$@" || failed "$what"
    passed "$what"
}
# says TEXT COMMAND...: its output, whatever its status, has the text
says() {
    local text=$1 output
    shift
    output=$("$@" 2>&1) || true
    [[ $output == *"$text"* ]] || { echo "$output" >&2; return 1; }
}
says_not() { ! says "$@" 2>/dev/null; }

# files: all there are, but for what dpkg and the linker keep for themselves
files() {
    find / -xdev \( -path /proc -o -path /packages -o -path /tmp -o -path /var/log -o -path /var/cache -o -path /var/lib/dpkg \
        -o -path /var/lib/systemd -o -path /var/lib/apt \) -prune -o -printf '%p %y %l\n' | sort
}
# same_files FILE: as when `files` wrote it
same_files() {
    files >/tmp/now
    diff "$1" /tmp/now
}
installs() { apt-get -q install -y -o Dpkg::Use-Pty=0 "$@" >/tmp/apt.log 2>&1 || { cat /tmp/apt.log >&2; return 1; }; }
