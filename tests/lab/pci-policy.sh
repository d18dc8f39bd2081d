# PCI devices by xl-gpu.conf: a guest that arrives without its device gets it by pci_attach, hooks run on both sides; one that could
# never take it is refused with the line to add.
# timeout: 400
. $LIB/program.sh
. $LIB/pci.sh
pci_assignable
cat >/run/hook <<'S'
#!/bin/sh
echo "$1 $XL_GPU_DOMAIN $XL_GPU_DEVICES" >>/run/hooks
S
chmod +x /run/hook
gpud_config "pci_attach = { gpu = [\"$DEVICE\"], bare = [\"$DEVICE\"] }" \
    'pci_before_detach = ["/run/hook", "before"]' \
    'pci_after_attach = ["/run/hook", "after"]'
trap 'rm -f /etc/xen/xl-gpu.conf' EXIT
gpud_start

guest_start gpu 192 'passthrough="enabled"'
[ "$GUEST_TYPE" = hvm ] || guest gpu modprobe xen-pcifront
xl pci-attach gpu "$DEVICE"
wait_until 10 guest_has_device gpu
program_start gpu wave --mib 8 --hot 1

echo "--- a configuration without the device travels"
with_plugin migrate gpu -C /root/gpu.cfg
pci_moved gpu wave "after a migration"
cat /run/hooks
[ "$(cat /run/hooks)" = "$(printf '%s gpu '"$DEVICE"'\n' before after)" ]
program_result gpu wave
guest_stop gpu

echo "--- a guest that cannot take it"
guest_start bare 192 'passthrough = "disabled"'
program_start bare wave --mib 5 --hot 1
wait_until 60 has_sessions bare attached 1
source=$(domid bare)
if with_plugin migrate bare >/tmp/bare.log 2>&1; then echo "it was migrated"; exit 1; fi
grep -a 'add the line passthrough="enabled"' /tmp/bare.log
[ "$(domid bare)" = "$source" ]
status=0
xl-gpu doctor bare || status=$?
[ $status = 2 ]
xl-gpu doctor bare --json >/tmp/bare.json || true # its status again
jq -e '.can_migrate == false and any(.findings[]; .severity == "error" and (.remedy | contains("passthrough")))' /tmp/bare.json
