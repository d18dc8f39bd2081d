# The same for an HVM guest of two processors.
# script: refusals.sh
# set: GUEST_TYPE=hvm GUEST_VCPUS=2
# pci: yes
# long: yes
# timeout: 1200
