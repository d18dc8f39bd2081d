# Whoever starts a save or a restore, the plugin is there, once the packages' diversion is in place: an empty environment, xendomains,
# `xl save -c`, libvirt's daemon.
# long: yes
# timeout: 900
. $LIB/program.sh
$XL_GPU/save-helper-diversion add
$XL_GPU/save-helper-diversion status | grep diverted
gpud_start
guest_start gpu 208
program_start gpu wave --mib 8 --hot 1
wait_until 60 has_sessions gpu attached 1
# its GPU state went along, and came back
went_along() {
    wait_until 90 has_sessions gpu attached 1
    program_goes_on gpu wave "$1"
}

echo "--- as cron starts it: no environment"
env -i PATH=/usr/bin:/bin /usr/sbin/xl save gpu /var/tmp/gpu.save
xl-gpu stream verify /var/tmp/gpu.save
env -i PATH=/usr/bin:/bin /usr/sbin/xl restore /var/tmp/gpu.save
went_along "saved and restored with no environment"

echo "--- a checkpoint, after which the guest runs on"
env -i /usr/sbin/xl save -c gpu /var/tmp/gpu.save
xl-gpu stream verify /var/tmp/gpu.save
went_along "after xl save -c"
rm /var/tmp/gpu.save

echo "--- xendomains saves all guests and restores them"
env -i PATH="$PATH" /etc/init.d/xendomains stop
! xl domid gpu 2>/dev/null
xl-gpu stream verify /var/lib/xen/save/gpu
env -i PATH="$PATH" /etc/init.d/xendomains start
went_along "saved and restored by xendomains"

echo "--- the plugin is not in the helper: the save is ended, and the program goes on"
stock=$(echo /usr/lib/xen-*/bin/libxl-save-helper.distrib)
for command in "xl save gpu /var/tmp/gpu.save" "migrate gpu"; do
    if LIBXL_SAVE_HELPER=$stock $command >/tmp/bare.log 2>&1; then echo "$command did not fail"; exit 1; fi
    # The helper catches SIGTERM: its next write fails, and libxc cleans up.
    grep -aE 'Bad file descriptor|signal Terminated' /tmp/bare.log || { cat /tmp/bare.log; exit 1; }
    wait_until 60 has_sessions gpu attached 1
    program_goes_on gpu wave "after a save that was ended ($command)"
done
[ "$(grep -c "ran without xl-gpu's plugin" /share/out/xl-gpud.log)" = 2 ]
xl-gpu status gpu | grep "without xl-gpu's plugin"
program_result gpu wave
guest_stop gpu

echo "--- libvirt"
env -i PATH="$PATH" libvirtd -d
export LIBVIRT_DEFAULT_URI=xen:///system
wait_until 30 virsh version
virsh version
cat >/root/gpu.xml <<X
<domain type="xen">
  <name>gpu</name>
  <memory unit="MiB">208</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch="x86_64" machine="xenpv">linux</type>
    <kernel>/boot/guest/vmlinux</kernel>
    <initrd>/boot/guest/initrd.img</initrd>
    <cmdline>console=hvc0 mitigations=off cryptomgr.notests rodata=off quiet loglevel=4 xl-lab=guest</cmdline>
  </os>
  <features><xen><passthrough state="on"/></xen></features>
  <devices>
    <disk type="block" device="disk"><driver name="phy"/><source dev="/dev/vdb"/><target dev="xvde" bus="xen"/><readonly/></disk>
    <disk type="block" device="disk"><driver name="phy"/><source dev="$(readlink /run/guest-files)"/><target dev="xvdf" bus="xen"/><readonly/></disk>
    <console type="pty"><target type="xen" port="0"/></console>
  </devices>
</domain>
X
virsh define /root/gpu.xml
timed "virsh start" virsh start gpu
guest --timeout 120 gpu true
program_start gpu wave --mib 8 --hot 1
wait_until 60 has_sessions gpu attached 1
timed "virsh save" virsh save gpu /var/tmp/gpu.save
timed "virsh restore" virsh restore /var/tmp/gpu.save
went_along "after virsh save and restore"
timed "virsh managedsave" virsh managedsave gpu
timed "virsh start" virsh start gpu
went_along "after virsh managedsave and start"
program_result gpu wave
virsh destroy gpu
virsh undefine gpu
kill "$(cat /run/libvirtd.pid)"

$XL_GPU/save-helper-diversion remove
$XL_GPU/save-helper-diversion status
