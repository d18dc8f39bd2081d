# A guest: which library a program finds, with the package, without it, and when one does not want it.
. /packages/lib.sh

ours=/usr/lib/xl-gpu
export XDG_RUNTIME_DIR=/tmp # for xl-gpu-off
finds_ours() {
    says "libOpenCL.so.1: $ours/libOpenCL.so.1" "$@" /packages/opens libOpenCL.so.1
    says "libcuda.so.1: $ours/libcuda.so.1" "$@" /packages/opens libcuda.so.1
}
finds_stock() {
    says x86_64-linux-gnu/libOpenCL.so.1 "$@" /packages/opens libOpenCL.so.1
    says_not "$ours" "$@" /packages/opens libOpenCL.so.1 libcuda.so.1
}

# A driver of NVIDIA's, by name, where their packages put it; and a folder that CUDA's packages put first.
cp libcuda.so.1 /usr/lib/x86_64-linux-gnu
ldconfig
mkdir -p /opt/cuda/lib
cp -L /usr/lib/x86_64-linux-gnu/libOpenCL.so.1 /opt/cuda/lib/libOpenCL.so.1
files >/tmp/before
expect "the loader's library at first" finds_stock env

installs /packages/xl-gpu-guest_*.deb
expect "every library is found" says_not 'not found' ldd $ours/libOpenCL.so.1 $ours/xl-gpu-agent
expect "the agent is enabled" [ -L /etc/systemd/system/sockets.target.wants/xl-gpu-agent.socket ]
expect "a manual page" [ -e /usr/share/man/man7/xl-gpu-shadow.7.gz ]
expect "ours by name" finds_ours env
expect "ours for a program that is linked to it" says "libOpenCL.so.1 => $ours/" ldd /usr/bin/clinfo
expect "such a program runs" says 'Number of platforms' clinfo
echo /opt/cuda/lib >/etc/ld.so.conf.d/000_cuda.conf
cp /etc/ld.so.conf.d/000_cuda.conf /etc/ld.so.conf.d/00-nvcr-1.conf
for locale in C C.UTF-8; do
    LC_ALL=$locale ldconfig
    expect "ours before folders that others put first ($locale)" finds_ours env
done
rm /etc/ld.so.conf.d/000_cuda.conf /etc/ld.so.conf.d/00-nvcr-1.conf
ldconfig

expect "one program without it" finds_stock xl-gpu-off
expect "also where it is preloaded" finds_stock env LD_PRELOAD=$ours/libOpenCL.so.1 LD_LIBRARY_PATH=$ours xl-gpu-off
sed -i 's|^/usr/lib/xl-gpu|#&|' /etc/ld.so.conf.d/00-000-xl-gpu.conf
ldconfig
expect "all programs without it" finds_stock env

installs -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold /packages/newer/xl-gpu-guest_*.deb
expect "upgraded, and still without it" finds_stock env
sed -i 's|^#/usr/lib/xl-gpu|/usr/lib/xl-gpu|' /etc/ld.so.conf.d/00-000-xl-gpu.conf
ldconfig
expect "with it again" finds_ours env

dpkg -r xl-gpu-guest >/dev/null
expect "removed: the loader's library" finds_stock env
dpkg -P xl-gpu-guest >/dev/null
expect "purged: nothing is left" same_files /tmp/before
