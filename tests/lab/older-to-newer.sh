# A program in a guest that is saved on Xen 4.17 goes on in the guest restored on 4.20.
# suite: bookworm trixie
# hypervisor: current
# long: yes
. $LIB/program.sh
gpud_start
if [ "$SUITE" = bookworm ]; then
    guest_start gpu 192
    program_start gpu wave --mib 8 --hot 1
    wait_until 60 has_sessions gpu attached 1
    with_plugin timed "xl save" xl save gpu /var/tmp/gpu.save
    xl-gpu stream verify /var/tmp/gpu.save
    # xl cannot write there itself.
    mkdir -p /share/kept
    cp /var/tmp/gpu.save /share/kept/
else
    guest_config gpu 192
    cp /share/kept/gpu.save /var/tmp/
    with_plugin timed "xl restore" xl restore /root/gpu.cfg /var/tmp/gpu.save
    guest gpu 'cat /sys/hypervisor/version/minor'
    wait_until 90 has_sessions gpu attached 1
    program_goes_on gpu wave "on the newer Xen"
    with_plugin migrate gpu
    wait_until 90 has_sessions gpu attached 1
    program_result gpu wave
fi
