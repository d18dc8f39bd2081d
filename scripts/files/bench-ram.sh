# The part of scripts/bench-ram that runs in dom0: bench-ram.sh SIZES LOADS RATE TIMES
# shellcheck shell=bash
. $LIB/program.sh
. $LIB/pci.sh
sizes=$1 loads=$2 rate=$3 times=$4

# Passes the stream on at no more than that many bytes a second.
cat >/run/throttle <<'S'
import os, sys, time
rate, allowed, last = float(sys.argv[1]) * 1e6, 0.0, time.monotonic()
while block := os.read(0, 1 << 16):
    while block:
        now = time.monotonic()
        allowed, last = min(allowed + (now - last) * rate, rate / 10), now
        if allowed <= 0:
            time.sleep(-allowed / rate + 0.005)
            continue
        sent = os.write(1, block)
        allowed -= sent
        block = block[sent:]
S
export RECEIVER_FILTER="python3 /run/throttle $rate"

# daemon_with VALUE: xl-gpud with ram_precopy set to that
daemon_with() {
    gpud_stop
    echo "ram_precopy = $1" >/etc/xen/xl-gpu.conf
    gpud_start
    wait_until 30 has_sessions bench attached 1
}
restored() { xl-gpu report "$1" --json | jq -e '.gpu_blackout_s != null'; }

results=()
for mib in $sizes; do
    for load in $loads; do
        gpud_start
        pci_guest bench "$mib"
        # The session is what makes the device leave; the program sleeps nearly all the time.
        program_start bench wave --mib 5 --hot 1 --pause-ms 3000
        if [ "$load" = mutating ]; then
            guest bench "/opt/xl-gpu-tests/mutate --mib $((mib * 2 / 5)) --hot 8 --pause-us 3000 >/tmp/mutate.log 2>&1 &"
            wait_until 120 guest bench 'grep -q filled /tmp/mutate.log'
        fi
        for ((n = 0; n < times; n++)); do
            for precopy in false true; do
                daemon_with $precopy
                source=$(domid bench)
                echo "$mib MiB, $load, ram_precopy = $precopy"
                with_plugin migrate bench >/tmp/migrate.log 2>&1 || { tail /tmp/migrate.log; exit 1; }
                target=$(domid bench)
                wait_until 120 restored "$target"
                wait_until 30 guest_has_device bench
                results+=("$(jq -n --argjson s "$(xl-gpu report "$source" --json)" --argjson t "$(xl-gpu report "$target" --json)" \
                    --argjson precopy $precopy --arg load "$load" --argjson mib "$mib" '
                    { mib: $mib, load: $load, precopy: $precopy, ram: $s.ram, detach_s: $s.detach_s, attach_s: $t.attach_s,
                      gpu_blackout_s: $t.gpu_blackout_s, vm_downtime_s: $t.vm_downtime_s,
                      detach_to_resume_s: ($s.ram.detach_to_suspend_s + $t.vm_downtime_s) }')")
                printf '%s\n' "${results[@]}" | jq -s . >/share/out/bench-ram.json
            done
        done
        [ "$load" = idle ] || { guest bench 'kill -TERM $(pidof mutate); sleep 1; tail -n 1 /tmp/mutate.log; grep -q "^MUTATE OK" /tmp/mutate.log'; }
        guest_stop bench
        gpud_stop
    done
done
rm -f /etc/xen/xl-gpu.conf
