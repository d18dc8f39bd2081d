# An OpenCL program in a guest with a PCI device: stock Xen refuses to migrate it. With the plugin it moves, and has the
# device again; a receiver that dies when the device is on its way out costs nothing.
# pci: yes
# timeout: 400
. $LIB/program.sh
. $LIB/pci.sh
gpud_start
pci_guest gpu 192
program_start gpu wave --mib 8 --hot 1
xl-gpu doctor gpu

echo "--- stock Xen"
source=$(domid gpu)
if migrate gpu >/tmp/stock.log 2>&1; then echo "stock Xen has migrated it"; exit 1; fi
grep -a 'Failed to enable logdirty' /tmp/stock.log
[ "$(domid gpu)" = "$source" ]
guest_has_device gpu
program_goes_on gpu wave "after the refusal"

echo "--- a migration (scripts/demo --migrations 20 makes many)"
with_plugin migrate gpu
pci_moved gpu wave "after a migration"
xl-gpu report gpu

echo "--- a receiver that dies once the GPU state has left"
source=$(domid gpu)
if RECEIVER_FILTER="$LIB/break-stream kill-at-seal" with_plugin migrate gpu >/tmp/broken.log 2>&1; then
    echo "did not fail"
    exit 1
fi
grep -aE 'xl-gpu|rror|resum' /tmp/broken.log | tail -n 6 || true
grep -a 'PCI device .* detached' /share/out/xl-gpud.log | tail -n 1
[ "$(domid gpu)" = "$source" ]
pci_moved gpu wave "after a migration that failed"

program_result gpu wave
