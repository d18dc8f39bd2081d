# At random moments of a migration of a guest with its device something is killed: the receiver's save helper, the sender's, the daemon.
# Whatever was under way, one domain is left, in which the program goes on with the device.
# long: yes
# timeout: 1500
. $LIB/program.sh
. $LIB/pci.sh
gpud_start
pci_guest gpu 256
program_start gpu wave --mib 8 --hot 1
start=$(now)
with_plugin migrate gpu >/tmp/migrate.log 2>&1
took=$(elapsed "$start")
pci_moved gpu wave "after a migration"

one_domain() { [ "$(xl list | awk 'NR > 1 && $1 != "Domain-0" { print $1 }')" = gpu ]; }
seed=$RANDOM
RANDOM=$seed
for victim in receiver sender daemon receiver sender daemon; do
    moment=$(awk -v r=$RANDOM -v took="$took" 'BEGIN { printf "%.1f", r / 32768 * took }')
    with_plugin migrate gpu >/tmp/migrate.log 2>&1 &
    migrating=$!
    pause "$moment"
    case $victim in
    receiver) pkill -9 -f -- --restore-domain || true ;;
    sender) pkill -9 -f -- --save-domain || true ;;
    daemon) kill -9 "$(cat /run/xl-gpud.pid)" && rm -f /run/xl-gpud.pid /run/xl-gpu/gpud.sock ;;
    esac
    how="went through"
    wait $migrating || how="failed"
    echo "--- the $victim killed $moment s into a migration of $took s (seed $seed): it $how"
    [ "$victim" != daemon ] || gpud_start
    one_domain || { xl list; tail -n 20 /tmp/migrate.log; exit 1; }
    pci_moved gpu wave "after that"
done
program_result gpu wave
