# Settings shared by the lab's scripts; sourced, never run.
#
# XL_GPU_IMAGE  the built image: hypervisor, kernel, root file system (read-only once built, shared by all instances)
# XL_GPU_SUITE  dom0's Debian, and so its Xen: bookworm (default) or trixie. Kernel and guests are of the image named above with either.
# LAB           one instance: its 9p share, sockets and logs; a second one beside it needs only another folder
# shellcheck shell=bash disable=SC2034

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
IMAGE=${XL_GPU_IMAGE:-$REPO/.lab/image}
SUITE=${XL_GPU_SUITE:-bookworm}
LAB=${LAB:-$REPO/.lab}
STAGE=$LAB/stage
SHARE=$LAB/share
SERIAL=$LAB/serial.log
PIDFILE=$LAB/qemu.pid

say() { printf '[%s] %s\n' "${0##*/}" "$*" >&2; }
die() { printf '[%s] error: %s\n' "${0##*/}" "$*" >&2; exit 1; }

case $SUITE in
bookworm) XEN=4.17 DOM0=$IMAGE ;;
trixie) XEN=4.20 DOM0=$IMAGE-$SUITE ;;
*) die "XL_GPU_SUITE is bookworm or trixie, not $SUITE" ;;
esac

now() { date +%s.%N; }
# since START: seconds since `now` gave START
since() { echo "scale=1; ($(now) - $1) / 1" | bc; }

# The instance's QEMU runs (a stale pid file, or another process under its number, does not count).
alive() {
    [ -s "$PIDFILE" ] && [ "$(readlink -f "/proc/$(cat "$PIDFILE" 2>/dev/null)/exe" 2>/dev/null)" = "$(readlink -f "$(command -v qemu-system-x86_64)")" ]
}

# What the serial log says when the machine is beyond hope.
crashed() { grep -aqE 'Dom0 crashed|Panic on CPU|Kernel panic' "$SERIAL" 2>/dev/null; }

# patience: how many times longer than on an idle machine things may take here: 3 at least, as its processors may be slow or
# shared with others, more by the load
patience() { awk -v cores="$(nproc)" '{ n = int($1 / cores + 0.5); print (n > 3 ? n : 3) }' /proc/loadavg; }
