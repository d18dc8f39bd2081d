# The part of scripts/demo that runs in dom0: demo.sh MIGRATIONS MIB MODES [--pci]
# shellcheck shell=bash
. $LIB/pci.sh
. $LIB/program.sh
migrations=$1 mib=$2 modes=$3 pci=${4:-}
progress() { echo "[dom0] $*"; }
# report DOMID: the daemon's report of that domain's last migration
report() { xl-gpu report "$1" --json; }

restored() { report "$1" | grep -q '"gpu_blackout_s": [0-9]'; }

has_device() { [ -z "$pci" ] || guest_has_device demo; }
# phases SOURCE TARGET: where the blackout went, by both ends' reports; and "contents", which arrive behind it. What the target does
# not know of the blackout is its rest: the source's parts are cut to that, in order, so that all of them are the whole.
phases() {
    jq -n --argjson source "$1" --argjson target "$2" '
    def less($parts): if . == null then null else [. - ([$parts[] | values] | add // 0), 0] | max end;
    reduce ({ quiesce: $source.drain_s, last_chunks: $source.copy_s, seal: $source.seal_s, unload: $source.unload_s,
        unmap: $source.close_s, detach: $source.detach_s, ram_scan: $source.ram.scan.seconds,
        ram: ($source.memory_s | less([$source.ram.scan.seconds])),
        suspend: $source.suspend_s, transfer: $source.transfer_s } | to_entries[] | select(.value != null)) as $part
        ({ other: ($target.rest_s // 0) };
         ([$part.value, .other] | min) as $took | .[$part.key] = $took | .other -= $took)
    | . + { resume: $target.resume_s, attach: $target.attach_s, reconnect: $target.connect_s, restore: $target.reload_s,
            contents: ($target.restore_s | less([$target.reload_s, $target.attach_s, $target.connect_s])) }'
}

gpud_start
if [ -n "$pci" ]; then
    pci_guest demo $((mib * 2 + 240))
    progress "PCI device $DEVICE is in the guest: stock xl migrate would fail with \"Failed to enable logdirty\""
else
    guest_start demo $((mib * 2 + 240))
fi
progress "starting an OpenCL program with $mib MiB of buffers in the guest"
program_start demo wave --mib "$mib" --hot 4 --pause-ms 20
wait_until 30 has_sessions demo attached 1
xl-gpu status demo

LIBXL_SAVE_HELPER=$XL_GPU/libxl-save-helper xl-gpu doctor demo

each=() present=0
for ((n = 1; n <= migrations; n++)); do
    source=$(domid demo)
    has_device
    progress "xl migrate, $n of $migrations"
    start=$(now)
    with_plugin migrate demo
    total=$(elapsed "$start")
    target=$(domid demo)
    wait_until 60 restored "$target"
    program_goes_on demo wave "in domain $target"
    wait_until 30 has_device
    present=$((present + 1))
    each+=("$(jq -n --argjson source "$(report "$source")" --argjson target "$(report "$target")" --argjson total "$total" \
        --argjson phases "$(phases "$(report "$source")" "$(report "$target")")" '{
        gpu_bytes: $source.gpu_bytes, gpu_blackout_s: $target.gpu_blackout_s, vm_downtime_s: $target.vm_downtime_s, total_s: $total,
        phases: $phases }')")
done

progress "stopping the program, which checks every word of its buffers"
guest demo 'kill -TERM $(cat /tmp/wave.pid)'
says=$(guest --line /tmp/wave.log '^PROGRAM' --pid /tmp/wave.pid demo)
guest demo 'tail -n 3 /tmp/wave.log'
printf '%s\n' "${each[@]}" | jq -s --arg says "$says" --argjson present "$present" '
    { program_ok: ($says | startswith("PROGRAM OK ")), program_says: $says } + .[-1] + { migrations: length, device_present: $present, each: . }' >/share/out/demo.json
gpud_stop

# mode NAME DELTA [CONFIGURATION...]: moves a program that writes 1 % of its chunks all the time, scattered over its buffers
mode() {
    local name=$1 delta=$2 source says
    shift 2
    progress "xl migrate with $name"
    gpud_config "$@"
    gpud_start
    guest demo "cd /tmp; XL_GPU_DELTA=$delta $OPENCL patterns --pattern scattered --mib 16 --buffers 4 --period-ms 500 --stream no >patterns.log 2>&1 & echo \$! >patterns.pid"
    guest --line /tmp/patterns.log '^running' --pid /tmp/patterns.pid demo
    wait_until 30 has_sessions demo attached 1
    source=$(domid demo)
    with_plugin migrate demo
    wait_until 60 restored "$(domid demo)"
    guest demo 'kill -TERM $(cat /tmp/patterns.pid)'
    says=$(guest --line /tmp/patterns.log '^PROGRAM' --pid /tmp/patterns.pid demo)
    jq -n --arg mode "$name" --arg says "$says" --argjson source "$(report "$source")" --argjson target "$(report "$(domid demo)")" '{
        mode: $mode, program_says: $says, gpu_bytes: $source.gpu_bytes, gpu_blackout_s: $target.gpu_blackout_s }' >>/share/out/modes.json
    gpud_stop
}
if [ -n "$modes" ]; then
    [ -z "$pci" ] || xl pci-detach demo "$DEVICE" # what is compared is the GPU's part
    rm -f /share/out/modes.json
    mode "stop-and-copy only" 1 'precopy_rounds = 0'
    mode "pre-copy of whole buffers" 0
    mode "pre-copy of changed chunks" 1
    jq -s '.[0] + { modes: .[1:] } | .program_ok = (.program_ok and all(.modes[]; .program_says | startswith("PROGRAM OK ")))' \
        /share/out/demo.json /share/out/modes.json >/share/out/demo.new
    mv /share/out/demo.new /share/out/demo.json
fi
guest_stop demo
assert_no_leftovers
