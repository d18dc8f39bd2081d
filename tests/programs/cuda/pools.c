/* Stream-ordered memory: the device's pool and one of the program's own: pools [ROUNDS] */
#include "user.h"

int main(int argc, char **argv)
{
    enum { LIVE = 8 };
    long rounds = argument(argc, argv, 1, 60);
    CUstream streams[2];
    CUmemoryPool standard, own;
    open_device();
    for (int i = 0; i < 2; i++) OK(cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING));
    OK(cuDeviceGetDefaultMemPool(&standard, device));
    OK(cuMemPoolSetAttribute(standard, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &(uint64_t){1 << 22}));
    CUmemPoolProps props = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                            .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device}};
    OK(cuMemPoolCreate(&own, &props));
    struct { CUdeviceptr at; size_t words; uint *expected; } pieces[LIVE] = {0};
    uint64_t sum = 0;
    for (long round = 0; round < rounds; round++) {
        int i = drawn(LIVE);
        CUstream stream = streams[i % 2];
        if (!pieces[i].at) {
            pieces[i].words = 16 + drawn(300000);
            pieces[i].expected = malloc(pieces[i].words * 4);
            if (i % 4 < 2)
                OK(cuMemAllocAsync(&pieces[i].at, pieces[i].words * 4, stream));
            else
                OK(cuMemAllocFromPoolAsync(&pieces[i].at, pieces[i].words * 4, own, stream));
            fill(pieces[i].at, pieces[i].words, (uint)round, stream);
            host_fill(pieces[i].expected, pieces[i].words, (uint)round);
            continue;
        }
        uint64_t count = pieces[i].words < 1000 ? pieces[i].words : 1000;
        advance(pieces[i].at, count, (uint)round, stream);
        host_advance(pieces[i].expected, count, (uint)round);
        if (drawn(2)) continue;
        OK(cuStreamSynchronize(stream));
        uint64_t now = digest(pieces[i].at, pieces[i].words);
        CHECK(now == host_digest(pieces[i].expected, pieces[i].words));
        sum += now;
        OK(cuMemFreeAsync(pieces[i].at, stream));
        free(pieces[i].expected);
        pieces[i].at = 0;
        if (drawn(4) == 0) {
            OK(cuStreamSynchronize(stream));
            OK(cuMemPoolTrimTo(own, 0));
        }
    }
    for (int i = 0; i < LIVE; i++) {
        if (!pieces[i].at) continue;
        OK(cuStreamSynchronize(streams[i % 2]));
        CHECK(digest(pieces[i].at, pieces[i].words) == host_digest(pieces[i].expected, pieces[i].words));
        /* Also by the other name. */
        if (i % 2)
            OK(cuMemFree(pieces[i].at));
        else
            OK(cuMemFreeAsync(pieces[i].at, streams[0]));
        free(pieces[i].expected);
    }
    OK(cuCtxSynchronize());
    uint64_t used, threshold;
    OK(cuMemPoolGetAttribute(own, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
    OK(cuMemPoolGetAttribute(standard, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold));
    printf("pools: %016llx, %llu used, threshold %llu\n", (unsigned long long)sum, (unsigned long long)used, (unsigned long long)threshold);
    OK(cuMemPoolDestroy(own));
    for (int i = 0; i < 2; i++) OK(cuStreamDestroy(streams[i]));
    close_device();
    return 0;
}
