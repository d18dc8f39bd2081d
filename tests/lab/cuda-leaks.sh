# A CUDA program whose driver keeps its device open, so that the PCI device cannot leave: the migration is refused, the program goes on.
# long: yes
. $LIB/program.sh
. $LIB/pci.sh
gpud_start
pci_guest gpu 224
DRIVER=cuda STUB=leak_fds=1 program_start gpu wave --mib 15 --hot 3 --one-in 16
wait_until 60 has_sessions gpu attached 1
source=$(domid gpu)
if with_plugin migrate gpu >/tmp/leaks.log 2>&1; then echo "did not fail"; exit 1; fi
grep -a 'xl-gpu.*open or mapped although their driver is unloaded: its PCI device cannot be taken away' /tmp/leaks.log
[ "$(domid gpu)" = "$source" ]
guest gpu 'grep "still held: /run/cuda/nvidia.* (file descriptor" /tmp/wave.log'
pci_moved gpu wave "after a stop that was undone"
program_result gpu wave
