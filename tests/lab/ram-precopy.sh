# RAM is copied while the guest has its PCI device: after the last round the receiver compares every page with the sender's (--debug),
# and two programs check what they wrote. And a migration that loses pages on purpose, which has to be noticed.
# timeout: 600
. $LIB/program.sh
. $LIB/pci.sh
gpud_config
disks_let_go # all but rings must match
gpud_start
pci_guest gpu 192
program_start gpu wave --mib 6 --hot 1
guest gpu '/opt/xl-gpu-tests/mutate --mib 32 --hot 4 >/tmp/mutate.log 2>&1 & echo $! >/tmp/mutate.pid'
# Processes come and go: paravirtual page tables are made and given back all the time.
guest gpu 'while :; do /bin/sleep 0.3; done >/dev/null 2>&1 &'
guest --line /tmp/mutate.log filled --pid /tmp/mutate.pid gpu

# wrong_pages: what the receiver found to differ in the last migration, but for the rings that dom0 writes. One or two
# more differ when xenstored rings a guest that has just been suspended, also without RAM pre-copy: most likely Xen's event array and control block,
# which a guest makes anew when it resumes. They are told by their number only; a lost page in twenty makes many more.
XEN_WRITES=2
wrong_pages() { sed -n 's/.*verify pfn \(0x[0-9a-f]*\) failed.*/\1/p' /tmp/migrate.log | grep -vxFf /tmp/rings || true; }

source=$(domid gpu)
shared-frames gpu >/tmp/rings
with_plugin migrate gpu --debug >/tmp/migrate.log 2>&1 || { tail -n 20 /tmp/migrate.log; exit 1; }
echo "rings: $(tr '\n' ' ' </tmp/rings)"
grep -a 'verify pfn' /tmp/migrate.log || true
[ "$(wrong_pages | wc -l)" -le $XEN_WRITES ]
pci_moved gpu wave "after a migration"
guest gpu 'kill -USR1 $(cat /tmp/mutate.pid)'
guest --line /tmp/mutate.log '^MUTATE' --pid /tmp/mutate.pid gpu
guest gpu "cat /tmp/mutate.log; grep -q '^MUTATE OK' /tmp/mutate.log"
xl-gpu report "$source"
xl-gpu report "$source" --json | jq .ram
# It was the early copy that did it: most of memory did not go out again after the device was away.
xl-gpu report "$source" --json |
    jq -e '.ram | .given_up == null and (.passes | length) >= 2 and .passes[0].bytes > 150000000 and .scan.unchanged * 2 > .scan.pages'

cat >/run/helper-that-loses <<'S'
#!/bin/sh
LD_PRELOAD=/opt/xl-gpu-tests/lose-pages.so exec /usr/lib/xl-gpu/libxl-save-helper "$@"
S
chmod +x /run/helper-that-loses
export RECEIVER_SAVE_HELPER=$XL_GPU/libxl-save-helper
shared-frames gpu >/tmp/rings
LIBXL_SAVE_HELPER=/run/helper-that-loses migrate gpu --debug >/tmp/migrate.log 2>&1 || true
grep -a lose-pages /tmp/migrate.log
echo "pages found wrong: $(wrong_pages | wc -l)"
[ "$(wrong_pages | wc -l)" -gt $XEN_WRITES ]
guest_stop gpu gpu--incoming
rm -f /etc/xen/xl-gpu.conf
