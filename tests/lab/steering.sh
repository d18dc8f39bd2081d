# The operator steers a migration: held it stays in pre-copy while the program computes, called off xl migrate fails and the program
# goes on, forced it stops and moves. By the command line and by XenStore; what is predicted can be read meanwhile.
# long: yes
# timeout: 400
. $LIB/program.sh
gpud_start
guest_start gpu 192
program_start gpu wave --mib 8 --hot 1
source=$(domid gpu)
control=/local/domain/$source/control/gpu-migration

progress() { xl-gpu status gpu --json | jq -e ".domains[0].progress$1" ; }
round_beyond() { [ "$(progress .round)" -gt "$1" ]; }
# begin: xl migrate in the background, in its first round or later
begin() {
    with_plugin migrate gpu >/tmp/migrate.log 2>&1 &
    migrating=$!
    wait_until 60 xenstore-read "$control/progress/phase"
}
# held HOW...: the order is heard, rounds go on, and so does the program
held() {
    wait_until 60 "$@"
    wait_until 20 progress '.wish == "hold"'
    local round
    round=$(progress .round)
    wait_until 90 round_beyond $((round + 2))
    program_goes_on gpu wave "while its migration is held"
    [ "$(domid gpu)" = "$source" ] && kill -0 "$migrating"
    for node in phase wish round bytes dirty rate predicted budget; do
        echo "progress/$node = $(xenstore-read "$control/progress/$node")"
    done
}

begin
held xl-gpu hold gpu
xl-gpu abort gpu
if wait $migrating; then
    echo "xl migrate did not fail"
    exit 1
fi
grep -aq 'called off by the operator' /tmp/migrate.log || { tail -n 20 /tmp/migrate.log; exit 1; }
[ "$(domid gpu)" = "$source" ]
wait_until 60 has_sessions gpu attached 1
program_goes_on gpu wave "after the abort"
wait_until 10 holds_nothing gpu
! xenstore-read "$control/progress/phase" 2>/dev/null

# A program that is killed in the middle of it: the migration fails, the other program and the next migration do not.
program_start gpu other --mib 6 --hot 1
begin
wait_until 60 xl-gpu hold gpu
program_kill gpu other
if wait $migrating; then
    echo "a migration that lost a session went through"
    exit 1
fi
grep -a 'its process has gone' /tmp/migrate.log
wait_until 60 has_sessions gpu attached 1
program_goes_on gpu wave "after a migration in which another program was killed"

begin
held xenstore-write "$control/request" hold
timeout 3 xl-gpu status gpu --watch >/tmp/watch.log || true
head -n 3 /tmp/watch.log
grep -q 'predicted blackout' /tmp/watch.log
xenstore-write "$control/request" force
wait $migrating || { tail -n 20 /tmp/migrate.log; exit 1; }
xl-gpu report "$source" --json >/tmp/report.json
jq -c '{precopy: (.precopy | del(.rounds)), predicted_blackout_s, stop_s}' /tmp/report.json
jq -e '.precopy.ended == "forced"' /tmp/report.json
wait_until 90 has_sessions gpu attached 1
program_goes_on gpu wave "after a forced stop"
program_result gpu wave
