# The same for a PVH guest on Xen 4.20.
# script: programs-move.sh
# suite: trixie
# long: yes
# timeout: 900
