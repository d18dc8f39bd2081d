# A domain without a GPU session has the same stream, octet for octet, and takes the same time, with and without the
# helper, with and without the daemon; saved and migrated live. Shown on a domain that does not run: in one that does,
# no two migrations find the same memory.
# long: yes
# timeout: 600
disks_let_go
guest_start still 192
# It suspends itself and is left paused in that hypercall: from there it can be suspended again without running.
xl save -p still /var/tmp/first
domain=$(domid still)
# xenstored tells the kernel of each request to suspend: once the ring is full, the memory stays as it is.
for n in {1..60}; do xenstore-write "/local/domain/$domain/control/shutdown" ''; done
table=/run/still.times
rm -f "$table"

# still WAY KIND NAME: save or migrate the paused domain by way of the command WAY, which leaves the stream in NAME
still() {
    local start player
    suspend-paused "$domain" &
    player=$!
    start=$(now)
    if [ "$2" = save ]; then
        $1 xl save -p still "/var/tmp/$3"
    elif $1 xl migrate -s "$LIB/streams record /var/tmp/$3" still localhost >/tmp/still.log 2>&1; then
        echo "the recorder cannot take the domain over"
        return 1
    fi
    wait $player || { cat /tmp/still.log; return 1; }
    printf '%-10s%-26s%8s s\n' "$2" "$4" "$(elapsed "$start")" >>"$table"
    [ "$(domid still)" = "$domain" ]
}

rm /var/tmp/first

# same KIND NAME: that stream against stock's, and gone
same() {
    local found
    found=$(streams compare /var/tmp/stock "/var/tmp/$2" 2>&1) || { echo "$1, stock against $2: $found"; return 1; }
    echo "$1, stock against $2: $found"
    rm "/var/tmp/$2"
}
for kind in save migrate; do
    still '' $kind stock "stock"
    still '' $kind again "stock, once more"
    same $kind again
    still with_plugin $kind helper "helper, no daemon"
    same $kind helper
    gpud_start
    still with_plugin $kind daemon "helper and daemon"
    gpud_stop
    same $kind daemon
done
cat "$table"

# The comparison can fail.
cp /var/tmp/stock /var/tmp/other
printf x | dd of=/var/tmp/other bs=1 seek=1000000 conv=notrunc status=none
! streams compare /var/tmp/stock /var/tmp/other
rm -f /var/tmp/{stock,other}
