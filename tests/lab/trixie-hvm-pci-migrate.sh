# The same for an HVM guest on Xen 4.20.
# script: pci-migrate.sh
# suite: trixie
# set: GUEST_TYPE=hvm GUEST_VCPUS=1
# long: yes
# timeout: 900
