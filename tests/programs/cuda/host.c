/* Host memory that the device reaches: made by the driver, and registered; kernels write it, copies use it: host [ROUNDS] */
#include "user.h"
#include <sys/mman.h>

int main(int argc, char **argv)
{
    enum { WORDS = 200000 };
    long rounds = argument(argc, argv, 1, 12);
    uint *pinned, *mapped, *combined, *plain;
    uint *registered = mmap(NULL, WORDS * 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CUdeviceptr at, of_mapped, of_registered;
    CUstream stream;
    open_device();
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuMemAlloc(&at, WORDS * 4));
    OK(cuMemAllocHost((void **)&pinned, WORDS * 4));
    OK(cuMemHostAlloc((void **)&mapped, WORDS * 4, CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_PORTABLE));
    OK(cuMemHostAlloc((void **)&combined, WORDS * 4, CU_MEMHOSTALLOC_WRITECOMBINED));
    OK(cuMemHostRegister(registered, WORDS * 4, CU_MEMHOSTREGISTER_DEVICEMAP));
    OK(cuMemHostGetDevicePointer(&of_mapped, mapped, 0));
    OK(cuMemHostGetDevicePointer(&of_registered, registered, 0));
    unsigned flags;
    OK(cuMemHostGetFlags(&flags, mapped));
    CHECK(flags & CU_MEMHOSTALLOC_DEVICEMAP);
    plain = malloc(WORDS * 4);
    host_fill(plain, WORDS, 0);
    memcpy(mapped, plain, WORDS * 4);
    memcpy(registered, plain, WORDS * 4);
    uint64_t sum = 0;
    for (long round = 0; round < rounds; round++) {
        /* The device writes what the host reads, and the other way. */
        advance(of_mapped, WORDS, (uint)round, stream);
        advance(of_registered, WORDS, (uint)round, stream);
        host_advance(plain, WORDS, (uint)round);
        memcpy(combined, plain, WORDS * 4);
        OK(cuMemcpyHtoDAsync(at, combined, WORDS * 4, stream));
        advance(at, WORDS, 1, stream);
        OK(cuMemcpyDtoHAsync(pinned, at, WORDS * 4, stream));
        OK(cuStreamSynchronize(stream));
        CHECK(!memcmp(mapped, plain, WORDS * 4));
        CHECK(!memcmp(registered, plain, WORDS * 4));
        for (int i = 0; i < WORDS; i += 997) CHECK(pinned[i] == plain[i] * 3 + 1);
        sum = sum * 3 + host_digest(pinned, WORDS);
        if (round == rounds / 2) {
            OK(cuMemHostUnregister(registered));
            for (int i = 0; i < WORDS; i++) registered[i] ^= 0;
            OK(cuMemHostRegister(registered, WORDS * 4, CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_PORTABLE));
            OK(cuMemHostGetDevicePointer(&of_registered, registered, 0));
        }
    }
    printf("host memory: %016llx\n", (unsigned long long)sum);
    OK(cuMemHostUnregister(registered));
    OK(cuMemFreeHost(pinned));
    OK(cuMemFreeHost(mapped));
    OK(cuMemFreeHost(combined));
    OK(cuMemFree(at));
    OK(cuStreamDestroy(stream));
    close_device();
    return 0;
}
