/* Every way to launch: with arguments in an array, in a buffer, with a configuration, cooperatively, with shared memory of the launch's
   size: launches [ROUNDS] [BLOCKS THAT WAIT FOR ONE ANOTHER] */
#include "user.h"

enum { WORDS = 64 * 64 };

int main(int argc, char **argv)
{
    long rounds = argument(argc, argv, 1, 10);
    uint together = argument(argc, argv, 2, 1);
    CUdeviceptr at, arrived;
    CUstream stream;
    open_device();
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuMemAlloc(&at, WORDS * 4));
    OK(cuMemAlloc(&arrived, 4));
    fill(at, WORDS, 1, stream);
    CUfunction grow = kernel("advance"), reverse = kernel("reverse"), rotate = kernel("rotate"), barrier = kernel("together");
    int cooperative, per_processor, shared;
    OK(cuDeviceGetAttribute(&cooperative, CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, device));
    OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&per_processor, barrier, 64, 0));
    OK(cuFuncGetAttribute(&shared, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, reverse));
    CHECK(per_processor >= 1 && shared >= 256);
    for (uint round = 0; round < (uint)rounds; round++) {
        struct { CUdeviceptr words; uint64_t count; uint by; } packed = {at, WORDS, round};
        size_t bytes = sizeof packed - 4;
        OK(cuLaunchKernel(grow, WORDS / 64, 1, 1, 64, 1, 1, 0, stream, NULL,
                          (void *[]){CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_END}));
        LAUNCH(reverse, WORDS, stream, &at);
        OK(cuLaunchKernel(rotate, WORDS / 128, 1, 1, 128, 1, 1, 128 * 4, stream, (void *[]){&at, &round}, NULL));
        uint64_t count = WORDS;
        CUlaunchConfig config = {.gridDimX = WORDS / 64, .gridDimY = 1, .gridDimZ = 1, .blockDimX = 64, .blockDimY = 1, .blockDimZ = 1,
                                 .hStream = stream};
        OK(cuLaunchKernelEx(&config, grow, (void *[]){&at, &count, &round}, NULL));
        if (cooperative) {
            uint times = 3;
            OK(cuMemsetD32Async(arrived, 0, 1, stream));
            OK(cuLaunchCooperativeKernel(barrier, together, 1, 1, 64, 1, 1, 0, stream, (void *[]){&at, &arrived, &times}));
            CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value = {.cooperative = 1}};
            config.gridDimX = together;
            config.attrs = &attribute;
            config.numAttrs = 1;
            OK(cuMemsetD32Async(arrived, 0, 1, stream));
            OK(cuLaunchKernelEx(&config, barrier, (void *[]){&at, &arrived, &times}, NULL));
        }
    }
    OK(cuStreamSynchronize(stream));
    printf("%s: %016llx\n", cooperative ? "also cooperative" : "not cooperative", (unsigned long long)digest(at, WORDS));

    /* Numbers with a point. */
    CUdeviceptr x, y;
    float values[1000], a = 0.5f;
    uint n = 1000;
    OK(cuMemAlloc(&x, sizeof values));
    OK(cuMemAlloc(&y, sizeof values));
    for (int i = 0; i < 1000; i++) values[i] = (float)i;
    OK(cuMemcpyHtoD(x, values, sizeof values));
    OK(cuMemsetD8(y, 0, sizeof values));
    CUfunction axpy = kernel("axpy");
    for (int i = 0; i < 8; i++) LAUNCH(axpy, 1000, NULL, &y, &x, &a, &n);
    OK(cuMemcpyDtoH(values, y, sizeof values));
    for (int i = 0; i < 1000; i++) CHECK(values[i] == 4.0f * i);
    printf("axpy: %g\n", values[999]);
    OK(cuMemFree(x));
    OK(cuMemFree(y));
    OK(cuMemFree(at));
    OK(cuMemFree(arrived));
    OK(cuStreamDestroy(stream));
    close_device();
    return 0;
}
