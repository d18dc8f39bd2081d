# Manual control by XenStore: detach takes the state away and the program waits, attach gives it back, checkpoint does not
# disturb; a request nobody knows changes nothing.
# timeout: 600
. $LIB/program.sh
gpud_start
guest_start gpu 192
program_start gpu wave --mib 8 --hot 1
control=/local/domain/$(domid gpu)/control/gpu-migration

request gpu checkpoint
[ "$(xenstore-read $control/state)" = checkpointed ]
program_goes_on gpu wave "after a checkpoint"

request gpu detach
[ "$(xenstore-read $control/state)" = detached ]
has_sessions gpu detached 1
before=$(program_step gpu wave)
pause 2
[ "$(program_step gpu wave)" = "$before" ] || { echo "the program computes while detached"; exit 1; }

request gpu attach
[ "$(xenstore-read $control/state)" = attached ]
program_goes_on gpu wave "after detach and attach"

request gpu frobnicate
xenstore-read $control/error | grep -q frobnicate
has_sessions gpu attached 1
program_goes_on gpu wave "after an unknown request"

# The state is in files: a daemon that is killed loses nothing that was acknowledged.
request gpu detach
kill -9 "$(cat /run/xl-gpud.pid)"
rm -f /run/xl-gpud.pid /run/xl-gpu/gpud.sock
gpud_start
request gpu attach
program_goes_on gpu wave "after its daemon was killed while it was detached"

# A program that is killed says nothing to anybody: dom0 sees it all the same, and drops its image.
program_start gpu other --mib 6 --hot 1
request gpu detach
program_kill gpu other
wait_until 10 has_sessions gpu detached 1
images_of() { [ "$(xl-gpu status --json | jq '.domains[0].images | map(.session) | unique | length')" = "$1" ]; }
wait_until 30 images_of 1
request gpu attach
program_result gpu wave
