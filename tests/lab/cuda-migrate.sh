# A CUDA program in a guest with a PCI device: it moves by stock xl migrate, most of its contents before the stop; it goes through a file; it goes
# on where the receiver dies, and where the driver keeps its device open, so that the device cannot leave.
# pci: yes
# long: yes
# timeout: 500
. $LIB/program.sh
. $LIB/pci.sh
DRIVER=cuda
gpud_start
pci_guest gpu 224
# Every string is two pieces of 1.5 MiB at least: smaller ones would be left to the driver.
program_start gpu wave --mib 15 --hot 3 --cold-every 5
wait_until 60 has_sessions gpu attached 1
show_program() { guest gpu 'tail -n 5 /tmp/wave.log; dmesg | tail -n 5'; }
trap 'echo "FAILED in line $LINENO: $BASH_COMMAND" >&2; trap - ERR; show_program || true' ERR
guest_memory() { guest gpu "grep -E '^(MemTotal|MemAvailable)' /proc/meminfo; grep -E '^(VmHWM|VmRSS|Rss|VmPin)' /proc/\$(cat /tmp/$1.pid)/status"; }
guest_memory wave
xl-gpu doctor gpu
xl-gpu status

echo "--- a migration"
source=$(domid gpu)
with_plugin migrate gpu
pci_moved gpu wave "after a migration"
wait_until 10 holds_nothing gpu
xl-gpu report "$source" --json >/tmp/report.json
jq -c '{gpu_bytes, sessions, uncompared}' /tmp/report.json
# The device has no room for comparing: all goes twice, the second time mostly by reference.
jq -e '.gpu_bytes | .precopy[0] == 15728640 and .stop == 15728640 and .copies > 15728640 / 2' /tmp/report.json
jq -e '.uncompared | contains("memory")' /tmp/report.json
jq -e '.sessions[0].left_to_driver | .contexts == 1 and .bytes > 0' /tmp/report.json
xl-gpu report gpu
guest_memory wave
# pocl, which is there, ends a process in so small a guest ("Not enough memory to run on this device").
guest gpu '! grep libpocl /proc/$(cat /tmp/wave.pid)/maps'

echo "--- through a file"
with_plugin timed "xl save" xl save gpu /var/tmp/gpu.save
xl-gpu stream verify /var/tmp/gpu.save
with_plugin timed "xl restore" xl restore /var/tmp/gpu.save
rm -f /var/tmp/gpu.save
pci_moved gpu wave "after save and restore"

echo "--- a receiver that dies once the GPU state has left"
source=$(domid gpu)
if RECEIVER_FILTER="$LIB/break-stream kill-at-seal" with_plugin migrate gpu >/tmp/broken.log 2>&1; then
    echo "did not fail"
    exit 1
fi
[ "$(domid gpu)" = "$source" ]
pci_moved gpu wave "after a migration that failed"
guest_memory wave
program_result gpu wave
wait_until 20 has_sessions gpu attached 0

echo "--- a driver that keeps its device open"
STUB=leak_fds=1 program_start gpu wave --mib 15 --hot 3
wait_until 60 has_sessions gpu attached 1
if with_plugin migrate gpu >/tmp/leaks.log 2>&1; then echo "did not fail"; exit 1; fi
grep -a 'xl-gpu.*open or mapped although their driver is unloaded: its PCI device cannot be taken away' /tmp/leaks.log
[ "$(domid gpu)" = "$source" ]
guest gpu 'grep "still held: /run/cuda/nvidia.* (file descriptor" /tmp/wave.log'
pci_moved gpu wave "after a stop that was undone"
program_result gpu wave
