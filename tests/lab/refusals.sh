# Whatever refuses or fails a migration: the program goes on at the source, with nothing lost.
# timeout: 900
. $LIB/program.sh
gpud_start
guest_start gpu 192
program_start gpu wave --mib 8 --hot 1
source=$(domid gpu)

cat >/run/helper-without-daemon <<'S'
#!/bin/sh
XL_GPU_SOCKET=/run/nowhere exec /usr/lib/xl-gpu/libxl-save-helper "$@"
S
chmod +x /run/helper-without-daemon

RECEIVER_SAVE_HELPER='' fails "a receiver without the plugin" with_plugin migrate gpu
RECEIVER_SAVE_HELPER=/run/helper-without-daemon fails "no daemon at the destination" with_plugin migrate gpu
RECEIVER_FILTER="$LIB/break-stream corrupt" fails "a corrupted record" with_plugin migrate gpu
RECEIVER_FILTER="$LIB/break-stream kill" fails "a receiver killed in the middle" with_plugin migrate gpu
gpud_stop
fails "no daemon at the source" with_plugin migrate gpu
fails "no daemon at the source (save)" with_plugin xl save gpu /var/tmp/gpu.save
gpud_start

# And then it moves all the same.
with_plugin migrate gpu
source=$(domid gpu)
wait_until 90 has_sessions gpu attached 1
program_goes_on gpu wave "after a migration"
program_result gpu wave
