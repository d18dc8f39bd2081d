# The same for an HVM guest.
# script: kills.sh
# set: GUEST_TYPE=hvm
# long: yes
# timeout: 2400
