# The same for an HVM guest: the device does DMA before and after.
# script: pci-migrate.sh
# set: GUEST_TYPE=hvm
# long: yes
# timeout: 600
