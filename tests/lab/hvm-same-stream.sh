# The same for an HVM guest.
# script: same-stream.sh
# set: GUEST_TYPE=hvm
# long: yes
# timeout: 900
