/* Tiny launches one after the other, as fast as they go: tiny [LAUNCHES] */
#include "user.h"

int main(int argc, char **argv)
{
    uint launches = argument(argc, argv, 1, 20000);
    CUdeviceptr counter;
    CUstream stream;
    open_device();
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuMemAlloc(&counter, 2 << 20));
    OK(cuMemsetD32(counter, 0, (2 << 20) / 4));
    OK(cuCtxSynchronize());
    CUfunction count = kernel("count");
    void *parameters[] = {&counter};
    for (uint i = 0; i < launches; i++) OK(cuLaunchKernel(count, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
    uint counted;
    OK(cuStreamSynchronize(stream));
    OK(cuMemcpyDtoH(&counted, counter, 4));
    printf("%u launches, %u counted\n", launches, counted);
    OK(cuMemFree(counter));
    OK(cuStreamDestroy(stream));
    close_device();
    return counted != launches;
}
