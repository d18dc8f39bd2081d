# Two machines: a guest with a PCI device and an OpenCL program moves over ssh to a host that has the device at another address, and back
# in a file. A receiver that dies costs nothing.
# hosts: 2
# long: yes
# timeout: 900
. $LIB/program.sh
. $LIB/pci.sh
# As the packages do it: no environment, which ssh would not carry over.
ready() {
    $XL_GPU/save-helper-diversion add
    $XL_GPU/save-helper-diversion status | grep -q diverted
    disks_let_go
    pci_assignable gpu # both call it so
    # libxl leaves devices with names out of what it sends.
    gpud_config "pci_attach = { gpu = [ \"$DEVICE\" ] }"
    gpud_start
}
for there in host1 host2; do on $there "$(declare -f ready); ready"; done
[ "$DEVICE" != "$(on host2 'echo $DEVICE')" ]

guest_start gpu 208 'pci = [ "name=gpu" ]' 'passthrough = "enabled"'
guest gpu modprobe xen-pcifront
wait_until 10 guest_has_device gpu
program_start gpu wave --mib 8 --hot 1
wait_until 60 has_sessions gpu attached 1

echo "--- to the other host, by stock xl and ssh"
timed "xl migrate" xl migrate gpu host2
! xl domid gpu 2>/dev/null
on host2 'pci_moved gpu wave "on the other host"; xl pci-list gpu'
echo "--- what is left here"
xl-gpu status
xl-gpu history gpu

echo "--- a receiver that dies once the GPU state has left"
# In ssh's place: the stream passes through what breaks it, at the other end.
on host2 "printf '%s\n' '#!/bin/sh' 'host=\$1; shift; exec ssh \$host \"$LIB/break-stream kill-at-seal | \$*\"' >/tmp/broken-ssh; chmod +x /tmp/broken-ssh"
on host2 'if timed "xl migrate" xl migrate -s /tmp/broken-ssh gpu host1; then echo "did not fail"; exit 1; fi'
on host2 'pci_moved gpu wave "after a migration that failed"'

echo "--- back, in a file that is carried over"
on host2 'timed "xl save" xl save gpu /var/tmp/gpu.save'
timed "scp" scp -q host2:/var/tmp/gpu.save /var/tmp/gpu.save
on host2 'rm /var/tmp/gpu.save'
xl-gpu stream verify /var/tmp/gpu.save
timed "xl restore" xl restore /var/tmp/gpu.save
rm /var/tmp/gpu.save
pci_moved gpu wave "at home again"
program_result gpu wave

on host2 "gpud_stop; assert_no_leftovers; $XL_GPU/save-helper-diversion remove"
$XL_GPU/save-helper-diversion remove
