# Source this in the environment of the OpenCL programs that are to migrate:  . /usr/lib/xl-gpu/preload.sh
# The folder is for programs that open "libOpenCL.so" themselves.
# shellcheck shell=sh
export LD_PRELOAD="/usr/lib/xl-gpu/libOpenCL.so.1${LD_PRELOAD:+:$LD_PRELOAD}"
export LD_LIBRARY_PATH="/usr/lib/xl-gpu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
