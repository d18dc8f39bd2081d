# A CUDA program in a guest with a PCI device, moved by stock xl migrate; it goes through a file; a stop that fails because the driver
# keeps a device open is undone, and the program goes on.
# pci: yes
# long: yes
# timeout: 500
. $LIB/program.sh
. $LIB/pci.sh
DRIVER=cuda
gpud_start
pci_guest gpu 224
program_start gpu wave --mib 8 --hot 1 --cold-every 5
wait_until 60 has_sessions gpu attached 1
xl-gpu doctor gpu
xl-gpu status

echo "--- a migration"
with_plugin migrate gpu
pci_moved gpu wave "after a migration"
wait_until 10 holds_nothing gpu
xl-gpu report gpu

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
program_result gpu wave
wait_until 20 has_sessions gpu attached 0

echo "--- a driver that keeps its device open"
guest gpu 'cat >/tmp/leaks <<S
#!/bin/sh
STUB=leak_fds=1 DRIVER=cuda exec /usr/lib/xl-lab/guest/opencl wave --pause-ms 100 --mib 8 --hot 1
S
chmod +x /tmp/leaks; /tmp/leaks >/tmp/leaks.log 2>&1 & echo $! >/tmp/leaks.pid'
guest --timeout 240 --line /tmp/leaks.log '^step ' --pid /tmp/leaks.pid gpu
wait_until 60 has_sessions gpu attached 1
if with_plugin migrate gpu >/tmp/leaks.log 2>&1; then echo "did not fail"; exit 1; fi
grep -aE '/run/cuda/nvidia' /tmp/leaks.log /share/out/xl-gpud.log | tail -n 3
[ "$(domid gpu)" = "$source" ]
program_goes_on gpu leaks "after a stop that was undone"
program_result gpu leaks
