# The same for an HVM guest of two processors.
# script: no-session.sh
# set: GUEST_TYPE=hvm GUEST_VCPUS=2
# pci: yes
# long: yes
# timeout: 600
