# The same for an HVM guest.
# script: no-session.sh
# set: GUEST_TYPE=hvm
# long: yes
# timeout: 600
