# Programs of CUDA beside each other, beside one of OpenCL, and one that uses both, in one guest: they move together. While there is managed
# memory nothing moves and nothing is stopped.
# long: yes
# timeout: 400
. $LIB/program.sh
gpud_start
guest_start gpu 320
# Moves by our copies: pieces of more than 1 MiB. An emulated interpreter of kernels is slow: few words change.
small="--mib 15 --hot 3 --one-in 16 --cold-every 5"
DRIVER=cuda program_start gpu first $small
DRIVER=cuda PROGRAM=both program_start gpu both $small
DRIVER=stub program_start gpu opencl $small
all="first both opencl"
wait_until 60 has_sessions gpu attached 3

echo "--- a migration"
source=$(domid gpu)
with_plugin migrate gpu
wait_until 120 has_sessions gpu attached 3
for program in $all; do program_goes_on gpu "$program" "after a migration"; done
xl-gpu report "$source" --json >/tmp/report.json
jq -c '{gpu_bytes, stops, sessions: (.sessions | map({program, bytes, left_to_driver}))}' /tmp/report.json
# One session has objects of both.
jq -e '.sessions | map(.program) | sort == ["both", "wave", "wave"]' /tmp/report.json
jq -e '.gpu_bytes.precopy[0] == 4 * 15 * 1048576' /tmp/report.json
jq -e '.sessions | map(select(.left_to_driver.contexts == 1)) | length == 2' /tmp/report.json

echo "--- managed memory"
guest gpu "cd /tmp; DRIVER=cuda $OPENCL managed 0 600000 >/tmp/managed.log 2>&1 & echo \$! >/tmp/managed.pid"
says() { ("$@" || true) 2>&1 | grep -a "managed memory (cuMemAllocManaged)"; }
wait_until 60 says xl-gpu status
says xl-gpu status
says xl-gpu doctor gpu
home=/local/domain/$(domid gpu)/data/gpu-migration
says xenstore-ls "$home"
if with_plugin migrate gpu >/tmp/managed.log 2>&1; then echo "did not fail"; exit 1; fi
says cat /tmp/managed.log
has_sessions gpu attached 4
program_kill gpu managed

echo "--- and without it"
wait_until 30 has_sessions gpu attached 3
with_plugin migrate gpu
wait_until 120 has_sessions gpu attached 3
for program in $all; do program_result gpu "$program"; done
