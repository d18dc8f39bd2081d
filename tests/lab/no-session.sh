# A guest without a GPU session moves, by stock Xen alone, and with xl-gpu's helper in the way but no daemon, there also through a file: its
# memory and its running processes come along. And a driver can pin the pages that a guest shares: the disk writes into gntalloc's mapping
# by O_DIRECT, and the bytes are right.
# timeout: 400
guest_start plain 160
guest plain 'head -c 8M /dev/urandom >/tmp/data; sha256sum /tmp/data >/tmp/sum; sleep 100000 & echo $! >/tmp/pid'

intact() {
    guest plain 'sha256sum -c --status /tmp/sum && kill -0 $(cat /tmp/pid)' || { echo "$1: the guest has changed"; return 1; }
    echo "intact after $1"
}
for pages in 1 64 512; do guest plain "/opt/xl-gpu-tests/pin /dev/xvde $pages"; done

migrate plain
intact "a migration"

with_plugin migrate plain
intact "a migration with the helper"
with_plugin xl save plain /var/tmp/plain.save
with_plugin xl restore /var/tmp/plain.save
intact "save and restore with the helper"
