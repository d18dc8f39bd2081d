# An HVM guest's device that cannot leave, or come: its driver waits for a program that has it open, the guest hears no hotplug, or has no
# room for the device's memory. Whatever is tried, the program goes on, and afterwards the device comes back and works.
# set: GUEST_TYPE=hvm
# long: yes
# timeout: 1200
. $LIB/program.sh
. $LIB/pci.sh
# configured [LINE...]: xl-gpud anew, with these lines, and little patience for the guest
configured() {
    gpud_stop
    gpud_config "$@"
    sed -i 's/^pci_timeout.*/pci_timeout = "30s"/' /etc/xen/xl-gpu.conf
    gpud_start
    wait_until 60 has_sessions gpu attached "${sessions:-1}"
}
trap 'rm -f /etc/xen/xl-gpu.conf' EXIT
sessions=0 configured
pci_guest gpu 256
program_start gpu wave --mib 8 --hot 1
wait_until 60 has_sessions gpu attached 1
source=$(domid gpu)
use() { guest gpu 'modprobe edu_held; sleep 100000 </dev/edu_held & echo $! >/tmp/user.pid'; }
unuse() { guest gpu 'kill $(cat /tmp/user.pid)'; }

use
fails "a driver whose device is in use" with_plugin migrate gpu
grep -a 'edu_held (1 references)' /tmp/failed.log
[ ! -e /share/out/xl-gpud.log ] || ! grep -a "domain $source: PCI device .* detached" /share/out/xl-gpud.log
pci_dma gpu

echo "--- tried all the same, for the sake of a command of the administrator's"
configured 'pci_before_detach = ["/bin/true"]'
fails "a driver whose device is in use, and a command that changes nothing" with_plugin migrate gpu
grep -a 'would not give its PCI devices up, something uses their driver: edu_held (1 references)' /tmp/failed.log
unuse

echo "--- a driver that waits for what nobody can see"
configured
holds() { guest gpu "echo $1 >/sys/module/edu_held/parameters/holds"; }
holds Y
fails "a removal that does not end" with_plugin migrate gpu
grep -a 'has not let go of it' /tmp/failed.log
# It ends now, and the device leaves, for which nobody waits any more.
holds N
pci_moved gpu wave "after its driver has let go"

echo "--- a guest that hears no hotplug"
configured
guest gpu 'rmmod edu_held; echo disable >/sys/firmware/acpi/interrupts/gpe01'
fails "a guest that hears nothing" with_plugin migrate gpu
guest gpu 'echo enable >/sys/firmware/acpi/interrupts/gpe01'
pci_moved gpu wave "after it has heard"

echo "--- and then it moves"
with_plugin migrate gpu
source=$(domid gpu)
pci_moved gpu wave "after a migration"

echo "--- a device for whose memory it has no room"
BIG=0000:00:0b.0
xl pci-assignable-add $BIG
configured "pci_attach = { gpu = [\"$BIG\"] }"
fails "a device that it cannot take" with_plugin migrate gpu
grep -a "the largest window of the guest's PCI bus has" /tmp/failed.log
program_result gpu wave
