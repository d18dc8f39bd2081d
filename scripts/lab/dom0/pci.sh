# The PCI device of a machine booted with --pci, for cases that pass it through: $DEVICE, QEMU's `edu`, 1234:11e8.
# Sourced by a case: . $LIB/pci.sh
# shellcheck shell=bash

# pci_assignable [NAME]: pciback has it, so that it can be assigned, by that name too
pci_assignable() {
    modprobe xen-pciback
    xl pci-assignable-list | grep -q "$DEVICE" || xl pci-assignable-add ${1:+-n "$1"} "$DEVICE"
}

# pci_guest NAME [MIB] [LINE...]: start a guest that has the device; an HVM guest gets it once it has booted
pci_guest() {
    pci_assignable
    if [ "$GUEST_TYPE" = hvm ]; then
        guest_start "$1" "${2:-384}" "${@:3}"
        timed "xl pci-attach $1" xl pci-attach "$1" "$DEVICE"
    else
        guest_start "$1" "${2:-384}" "pci = [ \"$DEVICE\" ]" "${@:3}"
        guest "$1" modprobe xen-pcifront
    fi
    wait_until 10 guest_has_device "$1"
    pci_dma "$1"
}

# pci_dma NAME: the device does its work there; a PV guest's programs cannot tell it where their memory is
pci_dma() { [ "$GUEST_TYPE" = pv ] || guest "$1" /usr/lib/xl-lab/guest/edu; }

# guest_has_device NAME: its kernel sees it, and libxl lists it
guest_has_device() {
    xl pci-list "$1" | grep -q "$DEVICE" && guest "$1" 'grep -qs 0x11e8 /sys/bus/pci/devices/*/device'
}

# pci_moved NAME "PROGRAM..." WHEN: after a move the guest has its device again, its programs their GPU state, and they go on
pci_moved() {
    local program programs=($2)
    wait_until 60 guest_has_device "$1" || { echo "$1 has no device $3"; xl pci-list "$1"; return 1; }
    wait_until 90 has_sessions "$1" attached ${#programs[@]}
    for program in "${programs[@]}"; do program_goes_on "$1" "$program" "$3, with the device"; done
    pci_dma "$1"
}
