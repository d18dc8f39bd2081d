# Two machines: a guest with a PCI device and an OpenCL program moves over ssh to a host that has the device at another address, and back
# by way of a file. A host that is gone in the middle costs nothing.
# hosts: 2
# long: yes
# timeout: 900
. $LIB/program.sh
. $LIB/pci.sh
# /etc/environment is what sshd's sessions read.
install_plugin() { grep -q LIBXL_SAVE_HELPER /etc/environment 2>/dev/null || echo "LIBXL_SAVE_HELPER=$XL_GPU/libxl-save-helper" >>/etc/environment; }
# Each host has its own address for the device; both call it `gpu`.
name_device() {
    modprobe xen-pciback
    xl pci-assignable-list | grep -q "$DEVICE" || xl pci-assignable-add -n gpu "$DEVICE"
}
for there in host1 host2; do
    on $there "$(declare -f install_plugin name_device); install_plugin; name_device; disks_let_go; gpud_start"
done
[ "$DEVICE" != "$(on host2 'echo $DEVICE')" ]

guest_start gpu 208 'pci = [ "name=gpu" ]'
guest gpu modprobe xen-pcifront
wait_until 10 guest_has_device gpu
program_start gpu wave --mib 8 --hot 1
wait_until 60 has_sessions gpu attached 1

echo "--- to the other host, by stock xl and ssh"
with_plugin timed "xl migrate" xl migrate gpu host2
xl list | awk '$1 == "gpu" { exit 1 }'
on host2 'pci_moved gpu wave "on the other host"'
on host2 'xl pci-list gpu'
xl-gpu status
[ -z "$(xl-gpu status --json | jq -r '.. | .images? // empty | .[]?')" ]

echo "--- a receiver that dies once the GPU state has left"
# In ssh's place: the stream passes through what breaks it, at the other end.
on host2 "printf '%s\n' '#!/bin/sh' 'host=\$1; shift; exec ssh \$host \"$LIB/break-stream kill-at-seal | \$*\"' >/tmp/broken-ssh; chmod +x /tmp/broken-ssh"
on host2 'if with_plugin timed "xl migrate" xl migrate -s /tmp/broken-ssh gpu host1; then echo "did not fail"; exit 1; fi'
on host2 'pci_moved gpu wave "after a migration that failed"'

echo "--- back, through a file that is carried over"
on host2 'with_plugin timed "xl save" xl save gpu /var/tmp/gpu.save'
timed "scp" scp -q host2:/var/tmp/gpu.save /var/tmp/gpu.save
on host2 'rm /var/tmp/gpu.save'
xl-gpu stream verify /var/tmp/gpu.save
with_plugin timed "xl restore" xl restore /var/tmp/gpu.save
rm /var/tmp/gpu.save
pci_moved gpu wave "at home again"
program_result gpu wave

on host2 'gpud_stop; assert_no_leftovers'
