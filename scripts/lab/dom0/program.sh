# OpenCL programs in a guest, for cases that move them. Sourced by a case: . $LIB/program.sh
# shellcheck shell=bash

OPENCL=/usr/lib/xl-lab/guest/opencl
DRIVER=stub # or cuda; or pocl, in a guest of 320 MiB

# program_start GUEST NAME [wave's options]: runs until program_result; waits until it computes. PROGRAM is another one than wave, STUB what
# tests/stub-cuda is told, AS what it is started by.
program_start() {
    local guest=$1 name=$2
    shift 2
    guest "$guest" "cd /tmp; DRIVER=$DRIVER STUB=${STUB:-} ${AS:-} $OPENCL ${PROGRAM:-wave} --pause-ms 100 $* >/tmp/$name.log 2>&1 & echo \$! >/tmp/$name.pid"
    guest --timeout 240 --line "/tmp/$name.log" '^step ' --pid "/tmp/$name.pid" "$guest"
}

# program_step GUEST NAME: the last step it told of (0: none yet)
program_step() { guest "$1" "sed -n 's/^step \([0-9]*\) .*/\1/p' /tmp/$2.log | tail -n 1 | grep . || echo 0"; }

# program_goes_on GUEST NAME WHEN: it takes a step from now on
program_goes_on() {
    local line
    line=$(guest --timeout 90 --line "/tmp/$2.log" '^step ' --new --pid "/tmp/$2.pid" "$1") || {
        echo "$2 stands still $3: $line"
        xl-gpu status || true
        return 1
    }
    echo "$2 goes on $3: $line"
}

# program_result GUEST NAME: stop it; it checks every word it computed
program_result() {
    guest "$1" "kill -TERM \$(cat /tmp/$2.pid)"
    guest --line "/tmp/$2.log" '^PROGRAM' --pid "/tmp/$2.pid" "$1" >/dev/null || true
    guest "$1" "tail -n 2 /tmp/$2.log; grep -q '^PROGRAM OK' /tmp/$2.log"
}

# program_kill GUEST NAME: it has no time to take anything along
program_kill() { guest "$1" "kill -KILL \$(cat /tmp/$2.pid)"; }

# fails WHAT COMMAND...: it must fail, and the program `wave` go on in the same domain of `gpu`, $source
fails() {
    local what=$1
    shift
    echo "--- $what"
    if "$@" >/tmp/failed.log 2>&1; then
        echo "did not fail"
        return 1
    fi
    grep -aE 'xl-gpu|rror|resum' /tmp/failed.log | tail -n 6 || true
    wait_until 60 test "$(domid gpu 2>/dev/null)" = "$source"
    if [ -e /run/xl-gpud.pid ]; then wait_until 90 has_sessions gpu attached 1; fi
    program_goes_on gpu wave "after: $what"
    [ "$(xl list | awk 'NR > 1 && $1 != "Domain-0"' | wc -l)" = 1 ] || { xl list; return 1; }
}

# sessions GUEST STATE: how many of its sessions are in that state
sessions() {
    local status
    status=$(xl-gpu status --json) || return # says nothing: not a number that a case could wait for
    jq --arg name "$1" --arg state "$2" \
        '[.domains[] | select(.name == $name).sessions[] | select(.state == $state)] | length' <<<"$status"
}
has_sessions() { [ "$(sessions "$1" "$2")" = "$3" ]; }

# holds_nothing GUEST: no session of it has granted a page or bound a port
holds_nothing() {
    local home
    home=/local/domain/$(domid "$1")/data/gpu-migration
    ! xenstore-ls "$home" | grep -q '^ channel'
}

# at_rest CONTROL: its request has been acknowledged and carried out, or refused
at_rest() {
    [ -z "$(xenstore-read "$1/request")" ] && [[ "$(xenstore-read "$1/state")" != *ing ]]
}

# request GUEST WHAT: manual control, as an administrator does it; waits for the end
request() {
    local node
    node=/local/domain/$(domid "$1")/control/gpu-migration
    xenstore-write "$node/request" "$2"
    wait_until 120 at_rest "$node"
    echo "request $2: state $(xenstore-read "$node/state"), error: $(xenstore-read "$node/error" 2>/dev/null || echo none)"
}
