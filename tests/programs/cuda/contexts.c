/* Two contexts by turns, contexts destroyed with all that they have and made again, the primary one retained, reset and released. */
#include "user.h"

enum { WORDS = 300000 };

static void works(const char *what, uint seed)
{
    CUdeviceptr at;
    CUmodule own;
    CUfunction grow;
    uint64_t words = WORDS / 10;
    OK(cuModuleLoadData(&own, kernels_ptx));
    OK(cuModuleGetFunction(&grow, own, "advance"));
    OK(cuMemAlloc(&at, WORDS * 4));
    OK(cuMemsetD32(at, seed, WORDS));
    for (uint by = 0; by < 5; by++) LAUNCH(grow, words, NULL, &at, &words, &by);
    printf("%s: %016llx\n", what, (unsigned long long)digest(at, words));
    if (seed % 2) {
        OK(cuMemFree(at));
        OK(cuModuleUnload(own));
    }
}

int main(void)
{
    CUcontext second, popped, current;
    open_device();
    OK(cuCtxCreate(&second, CU_CTX_SCHED_BLOCKING_SYNC, device));
    OK(cuCtxGetCurrent(&current));
    CHECK(current == second && second != context);
    CUdeviceptr there, here;
    OK(cuMemAlloc(&there, WORDS * 4));
    OK(cuMemsetD32(there, 2, WORDS));
    OK(cuCtxPopCurrent(&popped));
    CHECK(popped == second);
    OK(cuMemAlloc(&here, WORDS * 4));
    OK(cuMemsetD32(here, 1, WORDS));
    for (uint i = 0; i < 6; i++) {
        advance(here, WORDS, i, NULL);
        OK(cuCtxPushCurrent(second));
        OK(cuMemcpyDtoD(there, there + WORDS * 2, 4 + i * 4));
        OK(cuMemsetD32(there + i * 4000, i, 1000));
        OK(cuCtxSynchronize());
        OK(cuCtxPopCurrent(&popped));
        CHECK(popped == second);
    }
    printf("here: %016llx\n", (unsigned long long)digest(here, WORDS));
    OK(cuCtxSetCurrent(second));
    printf("there: %016llx\n", (unsigned long long)digest(there, WORDS));
    works("of the second", 1);
    works("left to its end", 2);
    OK(cuCtxDestroy(second));
    OK(cuCtxSetCurrent(context));
    for (int i = 0; i < 4; i++) {
        OK(cuCtxCreate(&second, 0, device));
        works("made again", i);
        OK(cuCtxDestroy(second));
    }
    OK(cuCtxSetCurrent(context));
    printf("still here: %016llx\n", (unsigned long long)digest(here, 1000));

    CUcontext primary, again;
    unsigned flags;
    int active;
    OK(cuDevicePrimaryCtxGetState(device, &flags, &active));
    printf("active: %d\n", active);
    OK(cuDevicePrimaryCtxRetain(&primary, device));
    OK(cuDevicePrimaryCtxRetain(&again, device));
    CHECK(primary == again);
    OK(cuCtxPushCurrent(primary));
    works("primary", 4);
    OK(cuDevicePrimaryCtxReset(device));
    OK(cuCtxSetCurrent(context));
    OK(cuDevicePrimaryCtxRetain(&primary, device));
    OK(cuCtxSetCurrent(primary));
    works("after its reset", 5);
    OK(cuDevicePrimaryCtxGetState(device, &flags, &active));
    printf("active: %d\n", active);
    OK(cuDevicePrimaryCtxRelease(device));
    OK(cuDevicePrimaryCtxReset(device));
    OK(cuDevicePrimaryCtxGetState(device, &flags, &active));
    printf("active: %d\n", active);
    OK(cuCtxSetCurrent(context));
    printf("here: %016llx\n", (unsigned long long)digest(here, WORDS));
    OK(cuMemFree(here));
    close_device();
    return 0;
}
