# A driver can pin the pages that a guest shares: the disk writes into gntalloc's mapping by O_DIRECT, and the bytes are right.
guest_start pin 160
for pages in 1 64 512; do
    guest pin "/opt/xl-gpu-tests/pin /dev/xvde $pages"
done
