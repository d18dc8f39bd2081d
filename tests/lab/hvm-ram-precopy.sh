# The same for an HVM guest.
# script: ram-precopy.sh
# set: GUEST_TYPE=hvm
# long: yes
# timeout: 900
