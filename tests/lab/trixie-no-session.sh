# The same for a PVH guest on Xen 4.20.
# script: no-session.sh
# suite: trixie
# long: yes
# timeout: 400
