/* Takes nearly all of the device and works on it: full [PER CENT] [LARGEST PIECE IN MIB] [ROUNDS] */
#include "user.h"

int main(int argc, char **argv)
{
    double share = argument(argc, argv, 1, 98) / 100.0;
    size_t piece = (size_t)argument(argc, argv, 2, 512) << 20;
    long rounds = argument(argc, argv, 3, 8);
    enum { MOST = 4096 };
    static CUdeviceptr at[MOST];
    static size_t bytes[MOST];
    size_t free_bytes, total;
    open_device();
    OK(cuMemGetInfo(&free_bytes, &total));
    size_t wanted = (size_t)((double)total * share), taken = total - free_bytes;
    int count = 0;
    while (taken < wanted && count < MOST && piece >= 1 << 20) {
        size_t size = wanted - taken < piece ? (wanted - taken) & ~(size_t)0x1fffff : piece;
        if (size < 2 << 20) break;
        CUresult result = cuMemAlloc(&at[count], size);
        if (result == CUDA_ERROR_OUT_OF_MEMORY) {
            piece /= 2;
            continue;
        }
        OK(result);
        bytes[count] = size;
        taken += size;
        fill(at[count], size / 4, count, NULL);
        count++;
    }
    CUdeviceptr sum_at;
    uint64_t sum = 0;
    OK(cuMemAlloc(&sum_at, 8));
    OK(cuMemsetD8(sum_at, 0, 8));
    CUfunction digest = kernel("digest"), touch = kernel("touch");
    for (long round = 0; round < rounds; round++) {
        for (int i = 0; i < count; i++) {
            uint64_t chunks = bytes[i] / 4096;
            uint step = 64, seed = (uint)(round * 31 + i);
            LAUNCH(touch, (chunks + step - 1) / step, NULL, &at[i], &chunks, &step, &seed);
        }
        OK(cuCtxSynchronize());
    }
    for (int i = 0; i < count; i++) {
        uint64_t words = bytes[i] / 4;
        LAUNCH(digest, words < 65536 ? words : 65536, NULL, &at[i], &words, &sum_at);
    }
    OK(cuMemcpyDtoH(&sum, sum_at, 8));
    /* Sizes depend on what else has the device's memory. */
    fprintf(stderr, "%zu of %zu MiB in %d pieces\n", taken >> 20, total >> 20, count);
    printf("%016llx\n", (unsigned long long)sum);
    for (int i = 0; i < count; i++) OK(cuMemFree(at[i]));
    close_device();
    return 0;
}
