# An OpenCL and a CUDA program in a guest with a PCI device: stock Xen refuses to migrate it. With the plugin they move, by stock xl migrate
# and through a file, and the guest has the device again; a receiver that dies when the device is on its way out costs nothing.
# timeout: 500
. $LIB/program.sh
. $LIB/pci.sh
programs="opencl cuda"
show_memory() { guest gpu "grep -E '^(MemTotal|MemAvailable)' /proc/meminfo; grep -E '^(VmHWM|VmRSS|VmPin)' /proc/\$(cat /tmp/cuda.pid)/status"; }
gpud_start
pci_guest gpu 208
program_start gpu opencl --mib 8 --hot 1
# Every string is two pieces of 1.5 MiB at least: smaller ones would be left to the driver. An emulated interpreter of kernels is slow: few
# words change.
DRIVER=cuda program_start gpu cuda --mib 15 --hot 3 --one-in 16 --cold-every 5
wait_until 60 has_sessions gpu attached 2
show_memory
xl-gpu doctor gpu
xl-gpu status

echo "--- stock Xen"
source=$(domid gpu)
if migrate gpu >/tmp/stock.log 2>&1; then echo "stock Xen has migrated it"; exit 1; fi
# xl-gpud ends such a save, if Xen has not refused it before.
grep -aE 'Failed to enable logdirty|Bad file descriptor|signal Terminated' /tmp/stock.log || { cat /tmp/stock.log; exit 1; }
[ "$(domid gpu)" = "$source" ]
guest_has_device gpu
for program in $programs; do program_goes_on gpu $program "after the refusal"; done

echo "--- a migration (scripts/demo --migrations 20 makes many)"
with_plugin migrate gpu
pci_moved gpu "$programs" "after a migration"
wait_until 10 holds_nothing gpu
xl-gpu report gpu
xl-gpu report "$source" --json >/tmp/report.json
jq -c '{gpu_bytes, sessions, uncompared}' /tmp/report.json
# Neither device compares, CUDA's for want of memory: all of CUDA's goes twice, the second time mostly by reference.
jq -e '.gpu_bytes | .precopy[0] == 20 * 1048576 and .stop >= 15 * 1048576 and .copies > 15 * 1048576 / 2' /tmp/report.json
jq -e '.uncompared | startswith("20971520 bytes travel whole")' /tmp/report.json
jq -e '.sessions | map(select(.left_to_driver | .contexts == 1 and .bytes > 0)) | length == 1' /tmp/report.json
# pocl, which is there, ends a process in so small a guest ("Not enough memory to run on this device").
guest gpu '! grep libpocl /proc/$(cat /tmp/cuda.pid)/maps'
show_memory

echo "--- through a file"
with_plugin timed "xl save" xl save gpu /var/tmp/gpu.save
xl-gpu stream verify /var/tmp/gpu.save
with_plugin timed "xl restore" xl restore /var/tmp/gpu.save
rm -f /var/tmp/gpu.save
pci_moved gpu "$programs" "after save and restore"

echo "--- a receiver that dies once the GPU state has left"
source=$(domid gpu)
if RECEIVER_FILTER="$LIB/break-stream kill-at-seal" with_plugin migrate gpu >/tmp/broken.log 2>&1; then
    echo "did not fail"
    exit 1
fi
grep -aE 'xl-gpu|rror|resum' /tmp/broken.log | tail -n 6 || true
grep -a 'PCI device .* detached' /share/out/xl-gpud.log | tail -n 1
[ "$(domid gpu)" = "$source" ]
pci_moved gpu "$programs" "after a migration that failed"

for program in $programs; do program_result gpu $program; done
