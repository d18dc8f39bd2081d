# The same for an HVM guest.
# script: manual-control.sh
# set: GUEST_TYPE=hvm
# long: yes
# timeout: 900
