# Two OpenCL programs in one guest, moved by stock xl migrate, and on through a file; both results are right.
# timeout: 900
. $LIB/program.sh
DRIVER=pocl
gpud_start
guest_start gpu 352
program_start gpu one --mib 8 --hot 1
program_start gpu two --mib 6 --hot 2
wait_until 60 has_sessions gpu attached 2
# A dead one, whose nodes are still there, is in nobody's way.
DRIVER=stub program_start gpu three --mib 6 --hot 1
wait_until 60 has_sessions gpu attached 3
program_kill gpu three
guest gpu 'while grep -q . /proc/$(cat /tmp/three.pid)/maps 2>/dev/null; do sleep 0.2; done'
[ "$(xenstore-list "/local/domain/$(domid gpu)/data/gpu-migration" | wc -l)" = 3 ]

with_plugin migrate gpu
wait_until 90 has_sessions gpu attached 2
program_goes_on gpu one "after a migration"
program_goes_on gpu two "after a migration"
wait_until 10 holds_nothing gpu

with_plugin timed "xl save" xl save gpu /var/tmp/gpu.save
xl-gpu stream verify /var/tmp/gpu.save
xl-gpu stream verify /var/tmp/gpu.save --json | jq -e '.gpu.sessions | length == 2'
with_plugin timed "xl restore" xl restore /var/tmp/gpu.save
wait_until 90 has_sessions gpu attached 2
program_goes_on gpu one "after save and restore"
rm -f /var/tmp/gpu.save

program_result gpu one
program_result gpu two
wait_until 20 has_sessions gpu attached 0
