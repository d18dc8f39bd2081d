/* Mistakes, and what each is answered with; the last spoils the context, which is then made anew. */
#include "user.h"

static void said(const char *what, CUresult result)
{
    const char *name = "?";
    cuGetErrorName(result, &name);
    printf("%s: %s\n", what, name);
}

int main(void)
{
    CUdeviceptr small, large, other;
    said("before cuInit", cuMemAlloc(&small, 4));
    open_device();
    OK(cuMemAlloc(&small, 100));
    OK(cuMemAlloc(&large, 2 << 20));
    OK(cuMemAlloc(&other, 2 << 20));
    OK(cuMemsetD8(large, 1, 2 << 20));
    for (int i = 0; i < 4; i++) OK(cuMemsetD8(other, 1, 2 << 20));
    OK(cuMemFree(small));
    said("a small one freed again", cuMemFree(small));
    OK(cuMemFree(large));
    said("a large one freed again", cuMemFree(large));
    said("a free in the middle", cuMemFree(other + 4096));
    said("nothing freed", cuMemFree(0));
    said("no bytes", cuMemAlloc(&small, 0));
    said("too much", cuMemAlloc(&small, (size_t)1 << 50));
    said("a copy beyond the end", cuMemcpyDtoD(other, other + (2 << 20) - 16, 32));
    said("a range of nothing", cuMemGetAddressRange(NULL, NULL, 16));
    said("a range of what is free", cuMemGetAddressRange(&small, NULL, large));
    uint64_t words = 1000;
    uint by = 1;
    void *parameters[] = {&other, &words, &by};
    CUfunction grow = kernel("advance");
    said("a block too large", cuLaunchKernel(grow, 1, 1, 1, 100000, 1, 1, 0, NULL, parameters, NULL));
    said("no block", cuLaunchKernel(grow, 1, 1, 1, 0, 1, 1, 0, NULL, parameters, NULL));
    said("a name that is not there", cuModuleGetFunction(&grow, module, "not_there"));
    said("a map of nothing", cuMemUnmap(0x200000, 2 << 20));
    said("an odd reservation", cuMemAddressReserve(&small, 12345, 0, 0, 0));
    said("an ordinary one unmapped", cuMemUnmap(other, 2 << 20));
    said("host memory that is none", cuMemHostUnregister(&words));
    said("an end without a capture", cuStreamEndCapture(NULL, &(CUgraph){0}));
    said("still good", cuCtxSynchronize());
    advance(other, 1000, 5, NULL);
    printf("words: %016llx\n", (unsigned long long)digest(other, 1000));

    /* In a capture. */
    CUstream stream;
    CUgraph graph = NULL;
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    said("a wait in a capture", cuStreamSynchronize(stream));
    said("the capture's end", cuStreamEndCapture(stream, &graph));
    OK(cuStreamDestroy(stream));
    OK(cuMemFree(other));

    /* A kernel that writes where nothing is. */
    CUdeviceptr nowhere = 0x10;
    CUfunction poke = kernel("poke");
    said("the launch", cuLaunchKernel(poke, 1, 1, 1, 1, 1, 1, 0, NULL, (void *[]){&nowhere}, NULL));
    said("its end", cuCtxSynchronize());
    said("afterwards", cuMemAlloc(&small, 1000));
    said("and again", cuCtxSynchronize());
    said("destroyed", cuCtxDestroy(context));
    said("without a context", cuMemAlloc(&small, 1000));
    return 0;
}
