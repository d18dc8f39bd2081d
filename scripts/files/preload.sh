# Source this in the environment of the OpenCL and CUDA programs that are to migrate:  . /usr/lib/xl-gpu/preload.sh
# The folder is for programs that open "libOpenCL.so" or "libcuda.so" themselves. libcuda.so.1 comes second: it needs the other.
# shellcheck shell=sh
export LD_PRELOAD="/usr/lib/xl-gpu/libOpenCL.so.1:/usr/lib/xl-gpu/libcuda.so.1${LD_PRELOAD:+:$LD_PRELOAD}"
export LD_LIBRARY_PATH="/usr/lib/xl-gpu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
