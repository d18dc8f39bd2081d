# Whatever refuses or fails a migration: the program goes on at the source, with nothing lost.
# timeout: 900
. $LIB/program.sh
gpud_start
guest_start gpu 192
program_start gpu wave --mib 8 --hot 1
source=$(domid gpu)

# fails WHAT COMMAND...: it must fail, and the program go on in the same domain
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

cat >/run/helper-without-daemon <<'S'
#!/bin/sh
XL_GPU_SOCKET=/run/nowhere exec /usr/lib/xl-gpu/libxl-save-helper "$@"
S
chmod +x /run/helper-without-daemon

RECEIVER_SAVE_HELPER='' fails "a receiver without the plugin" with_plugin migrate gpu
RECEIVER_SAVE_HELPER=/run/helper-without-daemon fails "no daemon at the destination" with_plugin migrate gpu
RECEIVER_FILTER="$LIB/break-stream corrupt" fails "a corrupted record" with_plugin migrate gpu
RECEIVER_FILTER="$LIB/break-stream kill" fails "a receiver killed in the middle" with_plugin migrate gpu
gpud_stop
fails "no daemon at the source" with_plugin migrate gpu
fails "no daemon at the source (save)" with_plugin xl save gpu /var/tmp/gpu.save
gpud_start

# And then it moves all the same.
with_plugin migrate gpu
source=$(domid gpu)
wait_until 90 has_sessions gpu attached 1
program_goes_on gpu wave "after a migration"
program_result gpu wave
