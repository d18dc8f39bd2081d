# What jobs in dom0 build on (scripts/lab/run loads it first). A failing command ends the job, with its line shown.
# shellcheck shell=bash
set -eEuo pipefail
trap 'echo "FAILED in line $LINENO (status $?): $BASH_COMMAND" >&2' ERR

LIB=/usr/lib/xl-lab/dom0
XL_GPU=/usr/lib/xl-gpu
. /share/settings # GUEST_TYPE, but for a job that says which (run --set); HAP, SUITE, DEVICE
export PATH=$PATH:$LIB:$XL_GPU

# Starting a process takes a while under emulation: these need none.
exec {tick}<> <(:)
pause() { read -rt "$1" -u "$tick" || true; }
now() { echo "$EPOCHREALTIME"; }
# elapsed START: seconds since then, to 1/100
elapsed() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f\n", b - a }'; }

# timed LABEL COMMAND...: run it and say in the log of the job how long it took
exec {report}>&1
timed() {
    local label=$1 start status=0
    shift
    start=$(now)
    "$@" || status=$?
    echo "[time] $label: $(elapsed "$start") s" >&"$report"
    return $status
}

# wait_until SECONDS COMMAND...: until the command succeeds; seconds of an idle machine. Looks less often as time goes by: each look
# takes time from what is waited for.
wait_until() {
    local end=$((SECONDS + $1 * PATIENCE)) nap=100 # ms
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "timed out waiting for: $*" >&2; return 1; }
        pause 0.$nap
        nap=$((nap < 400 ? nap * 3 / 2 : nap))
    done
}

# The files that scripts/lab/publish left on the share, taken over when they changed.
take_over_stage() {
    local id
    id=$(cat /share/stage.id)
    exec 8>/run/stage.lock
    flock 8
    if [ "$(cat /run/stage.id 2>/dev/null)" != "$id" ]; then
        tar -C / -xf "/share/dom0-$id.tar" --no-same-owner --no-overwrite-dir --keep-directory-symlink
        cp "/share/guest-$id.img" "/var/lib/guest-$id.img"
        ln -sfn "$(losetup -r -f --show "/var/lib/guest-$id.img")" /run/guest-files
        echo "$id" >/run/stage.id
    fi
    exec 8>&-
}
take_over_stage

domid() { xl domid "$1"; }

# on HOST COMMAND...: on the other machine of two, where the files of this folder are at hand, too
on() {
    local host=$1
    shift
    ssh "$host" "export PATIENCE=$PATIENCE GUEST_TYPE=$GUEST_TYPE; . $LIB/lib.sh; . $LIB/program.sh; . $LIB/pci.sh; $*"
}

# guest_config NAME [MIB] [LINE...]: write /root/NAME.cfg; more configuration lines may follow
guest_config() {
    local name=$1 memory=${2:-320} kernel=vmlinux
    shift $(($# > 2 ? 2 : $#))
    [ "$GUEST_TYPE" = pv ] || set -- 'tsc_mode="native"' "$@"
    if [ "$GUEST_TYPE" = hvm ]; then
        # As alike as can be: see guest_start_booted. Emulated nested paging ends guests when they are restored, where
        # there is a choice; emulated AVX2 ends programs.
        kernel=vmlinuz memory=$((memory > 256 ? memory : 256)) GUEST_VCPUS=${GUEST_VCPUS:-2}
        set -- 'passthrough="enabled"' "hap=$HAP" 'cpuid="host,avx=0,avx2=0"' 'vga="none"' 'vnc=0' 'sdl=0' 'usb=0' "$@"
    fi
    cat >"/root/$name.cfg" <<C
name = "$name"
type = "$GUEST_TYPE"
kernel = "/boot/guest/$kernel"
ramdisk = "/boot/guest/initrd.img"
extra = "console=hvc0 mitigations=off cryptomgr.notests rodata=off quiet loglevel=4 xl-lab=guest"
memory = $memory
maxmem = $memory
vcpus = ${GUEST_VCPUS:-1}
on_crash = "destroy"
on_reboot = "destroy"
disk = ["script=$LIB/block,vdev=xvde,access=ro,target=/dev/vdb",
        "script=$LIB/block,vdev=xvdf,access=ro,target=$(readlink /run/guest-files)"]
$(printf '%s\n' "$@")
C
}

# disks_let_go: of guests' pages when they have read or written them. Else blkback keeps pages mapped until a minute after their last
# use, and what it wrote to them is not in Xen's dirty log before: it then turns up in whatever save runs at that moment.
disks_let_go() {
    modprobe xen-blkback
    echo N >/sys/module/xen_blkback/parameters/feature_persistent
}

# guest_start NAME [MIB] [LINE...]: create it and wait until it takes commands
guest_start() {
    guest_config "$@"
    rm -f "/share/console/guest-$1.log" "/share/console/guest-$1--incoming.log"
    if [ "$GUEST_TYPE" = hvm ]; then
        guest_start_booted "$1"
    else
        timed "xl create $1 ($GUEST_TYPE)" xl create -q "/root/$1.cfg"
        timed "$1 takes commands" guest --timeout 60 "$1" true
    fi
}

# guest_start_booted NAME: as the like of it was once it had booted, which takes an HVM guest minutes. One with a device boots each time.
guest_start_booted() {
    local image
    image=/var/tmp/booted-$({ grep -v '^name' "/root/$1.cfg" | sort -u; cat /run/stage.id; } | md5sum | cut -c1-16)
    if [ -e "$image" ]; then
        timed "xl restore $1 (booted before)" xl restore "/root/$1.cfg" "$image" 2>/dev/null
    else
        timed "xl create $1" xl create -q "/root/$1.cfg"
        timed "$1 takes commands" guest --timeout 150 "$1" true
        if grep -q '^pci' "/root/$1.cfg"; then return; fi
        rm -f /var/tmp/booted-*
        timed "xl save $1 (booted)" xl save -c "$1" "$image.new" 2>/dev/null
        mv "$image.new" "$image"
    fi
    guest "$1" true
}

# guest_console NAME: all it wrote, here and after each migration
guest_console() {
    cat "/share/console/guest-$1.log" "/share/console/guest-$1--incoming.log" 2>/dev/null | tr -d '\r'
}

# console_has NAME PATTERN
console_has() { guest_console "$1" | grep -aq -- "$2"; }

# migrate NAME [xl migrate's options]: to this same machine. Like xl itself, sender and receiver take LIBXL_SAVE_HELPER from
# the environment; RECEIVER_SAVE_HELPER gives the receiver another one (empty: stock).
migrate() {
    local name=$1
    shift
    timed "xl migrate $name" xl migrate "$@" -s "$LIB/localhost" "$name" localhost
}

# with_plugin COMMAND...: with xl-gpu's save helper
with_plugin() { LIBXL_SAVE_HELPER=$XL_GPU/libxl-save-helper "$@"; }

# gpud_config [LINE...]: xl-gpu.conf with these lines, and with time for an emulated machine
gpud_config() {
    printf '%s\n' 'timeout_open = "60s"' 'timeout_drain = "2min"' 'timeout_busy = "3min"' 'pci_timeout = "2min"' "$@" >/etc/xen/xl-gpu.conf
}

# gpud_start / gpud_stop: the daemon, log in /share/out/xl-gpud.log
gpud_start() {
    [ -x "$XL_GPU/xl-gpud" ] || { echo "no xl-gpud in dom0: run scripts/stage" >&2; return 1; }
    [ -e /etc/xen/xl-gpu.conf ] || gpud_config
    # Without the log of the job, which whoever started it waits for.
    "$XL_GPU/xl-gpud" >>/share/out/xl-gpud.log 2>&1 </dev/null {report}>&- &
    echo $! >/run/xl-gpud.pid
    wait_until 20 test -S /run/xl-gpu/gpud.sock || { tail -n 20 /share/out/xl-gpud.log >&2; return 1; }
}
gpud_stop() {
    local pid
    pid=$(cat /run/xl-gpud.pid 2>/dev/null) || return 0
    rm -f /run/xl-gpud.pid
    kill "$pid" 2>/dev/null || return 0
    wait_until 10 test ! -e "/proc/$pid/exe" || kill -9 "$pid"
}

# guest_stop NAME...: whatever state it is in
guest_stop() {
    local name
    for name in "$@"; do xl destroy "$name" 2>/dev/null || true; done
}

# leftovers: anything a finished case must not leave behind, one a line
leftovers() {
    xl list | awk 'NR > 1 && $1 != "Domain-0" { print "domain: " $0 }'
    pgrep -af '/libxl-save-helper --|/xl (migrate|save|restore|create)' || true
}
nothing_left() { [ -z "$(leftovers)" ]; }
assert_no_leftovers() {
    wait_until 10 nothing_left || { leftovers; return 1; }
}
