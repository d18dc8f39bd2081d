# A user without rights has a program moved by the agent, beside one of root's; the agent is killed, stays away and comes back.
# long: yes
# timeout: 900
. $LIB/program.sh
USER_S='setpriv --reuid 65534 --regid 65534 --clear-groups'

# As the unit and the rule of udev have it: a user of its own, no capability, and a group that may open Xen's devices.
starts=0
agent_start() {
    starts=$((starts + 1))
    guest gpu "chgrp 990 /dev/xen/gntalloc /dev/xen/evtchn /dev/xen/xenbus; chmod 660 /dev/xen/gntalloc /dev/xen/evtchn /dev/xen/xenbus
        mkdir -p /run/xl-gpu; chown 990 /run/xl-gpu
        setpriv --reuid 990 --regid 990 --clear-groups --no-new-privs --bounding-set=-all /usr/lib/xl-gpu/xl-gpu-agent >/tmp/agent.$starts.log 2>&1 & echo \$! >/tmp/agent.pid"
}
agent_kill() { guest gpu 'kill -KILL $(cat /tmp/agent.pid)'; }
images_of() { [ "$(xl-gpu status --json | jq '.domains[0].images | map(.session) | unique | length')" = "$1" ]; }

gpud_start
guest_start gpu 256
program_start gpu root_s --mib 6 --hot 1
AS=$USER_S program_start gpu user_s --mib 6 --hot 1
wait_until 60 has_sessions gpu attached 1
guest --line /tmp/user_s.log 'xl-gpu-agent at /run/xl-gpu/agent.sock' gpu
guest gpu "stat -c %U:%a /dev/xen/xenbus | grep -q root:600"

agent_start
wait_until 60 has_sessions gpu attached 2
folder=$(xenstore-ls -f "/local/domain/$(domid gpu)/data/gpu-migration" | sed -n 's|/uid = "65534"$||p')
[ "$(xenstore-read "$folder/pid")" = "$(guest gpu 'cat /tmp/user_s.pid')" ]

with_plugin migrate gpu
wait_until 90 has_sessions gpu attached 2
program_goes_on gpu root_s "after a migration"
program_goes_on gpu user_s "after a migration by the agent"
wait_until 10 holds_nothing gpu

# Nobody is asked again for what the agent had in hand: the next one goes on.
agent_kill
program_goes_on gpu user_s "without the agent"
agent_start
guest --line /tmp/agent.$starts.log 'of user 65534' gpu
request gpu checkpoint
[ "$(xenstore-read "/local/domain/$(domid gpu)/control/gpu-migration/state")" = checkpointed ]

# While the state is at dom0 as well. dom0 drops the image of a program that it takes for dead after 2 s.
request gpu detach
has_sessions gpu detached 2
agent_kill
pause 6
images_of 2
agent_start
request gpu attach
wait_until 60 has_sessions gpu attached 2
program_goes_on gpu user_s "after the agent was away while its state was"
program_goes_on gpu root_s "after that"

# The program is killed: its session ends, the other one moves.
AS=$USER_S program_start gpu other --mib 6 --hot 1
wait_until 60 has_sessions gpu attached 3
program_kill gpu other
wait_until 20 has_sessions gpu attached 2
with_plugin migrate gpu
wait_until 90 has_sessions gpu attached 2
program_result gpu root_s
program_result gpu user_s
wait_until 20 has_sessions gpu attached 0
guest gpu 'cat /tmp/agent.*.log'
