# The same for an HVM guest on Xen 4.20.
# script: pci-migrate.sh
# suite: trixie
# set: GUEST_TYPE=hvm
# long: yes
# timeout: 900
