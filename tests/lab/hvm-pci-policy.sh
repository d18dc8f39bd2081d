# The same for an HVM guest.
# script: pci-policy.sh
# set: GUEST_TYPE=hvm
# long: yes
# timeout: 900
