# The same for an HVM guest of two processors: the device does DMA before and after.
# script: pci-migrate.sh
# set: GUEST_TYPE=hvm GUEST_VCPUS=2
# pci: yes
# long: yes
# timeout: 600
