# The same for a PVH guest on the archive's newest hypervisor.
# script: no-session.sh
# hypervisor: current
# timeout: 400
