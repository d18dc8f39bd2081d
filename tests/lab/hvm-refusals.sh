# The same for an HVM guest.
# script: refusals.sh
# set: GUEST_TYPE=hvm
# long: yes
# timeout: 1200
