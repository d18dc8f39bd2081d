/* Graphs, captured and put together by hand, launched again and again with the pointers that they were made with: graphs [ROUNDS] */
#include "user.h"

enum { WORDS = 4096 };

static uint on_host;

static void counted(void *user)
{
    *(uint *)user += 1;
}

int main(int argc, char **argv)
{
    long rounds = argument(argc, argv, 1, 12);
    CUstream stream, side;
    CUevent fork, join;
    CUdeviceptr a, b, large, counter;
    uint *first = malloc(WORDS * 4), *second = malloc(WORDS * 4);
    open_device();
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuStreamCreate(&side, CU_STREAM_NON_BLOCKING));
    OK(cuEventCreate(&fork, CU_EVENT_DISABLE_TIMING));
    OK(cuEventCreate(&join, CU_EVENT_DISABLE_TIMING));
    OK(cuMemAlloc(&a, WORDS * 4));
    OK(cuMemAlloc(&b, WORDS * 4));
    OK(cuMemAlloc(&large, 3 << 19));
    OK(cuMemAlloc(&counter, 4));
    OK(cuMemsetD32(counter, 0, 1));
    host_fill(first, WORDS, 1);
    host_fill(second, WORDS, 2);
    OK(cuMemcpyHtoD(a, first, WORDS * 4));
    OK(cuMemcpyHtoD(b, second, WORDS * 4));
    CUfunction count = kernel("count"), grow = kernel("advance"), spread = kernel("fill");

    /* Captured, over two streams. */
    CUgraph captured;
    CUgraphExec replay;
    CUstreamCaptureStatus status;
    uint64_t words = WORDS, wide = (3 << 19) / 4;
    uint by = 5, seed = 9;
    OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    LAUNCH(grow, WORDS, stream, &a, &words, &by);
    OK(cuEventRecord(fork, stream));
    OK(cuStreamWaitEvent(side, fork, 0));
    LAUNCH(spread, 1024, side, &large, &wide, &seed);
    OK(cuEventRecord(join, side));
    OK(cuMemcpyDtoDAsync(b, a, WORDS * 2, stream));
    OK(cuStreamIsCapturing(stream, &status));
    CHECK(status == CU_STREAM_CAPTURE_STATUS_ACTIVE);
    OK(cuStreamWaitEvent(stream, join, 0));
    LAUNCH(count, 1, stream, &counter);
    OK(cuLaunchHostFunc(stream, counted, &on_host));
    OK(cuStreamEndCapture(stream, &captured));
    OK(cuGraphInstantiate(&replay, captured, 0));
    OK(cuGraphDestroy(captured));

    /* By hand: set, kernel, copy, host function. */
    CUgraph made;
    CUgraphExec built;
    CUgraphNode set_node, kernel_node, copy_node, host_node;
    CUDA_MEMSET_NODE_PARAMS set = {.dst = large, .value = 0x1234, .elementSize = 4, .width = 4096, .height = 1};
    CUDA_KERNEL_NODE_PARAMS launch = {.func = grow, .gridDimX = WORDS / 64, .gridDimY = 1, .gridDimZ = 1, .blockDimX = 64,
                                      .blockDimY = 1, .blockDimZ = 1, .kernelParams = (void *[]){&b, &words, &by}};
    CUDA_MEMCPY3D copy = {.srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = b, .srcPitch = WORDS * 4, .srcHeight = 1, .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .dstDevice = large + 65536, .dstPitch = WORDS * 4, .dstHeight = 1, .WidthInBytes = WORDS * 4, .Height = 1, .Depth = 1};
    CUDA_HOST_NODE_PARAMS call = {counted, &on_host};
    OK(cuGraphCreate(&made, 0));
    OK(cuGraphAddMemsetNode(&set_node, made, NULL, 0, &set, context));
    OK(cuGraphAddKernelNode(&kernel_node, made, NULL, 0, &launch));
    OK(cuGraphAddMemcpyNode(&copy_node, made, (CUgraphNode[]){set_node, kernel_node}, 2, &copy, context));
    OK(cuGraphAddHostNode(&host_node, made, &copy_node, 1, &call));
    OK(cuGraphInstantiate(&built, made, 0));

    uint64_t sum = 0;
    for (long round = 0; round < rounds; round++) {
        OK(cuGraphLaunch(replay, stream));
        host_advance(first, WORDS, 5);
        memcpy(second, first, WORDS * 2);
        if (round % 3 == 0) {
            by = (uint)round;
            OK(cuGraphExecKernelNodeSetParams(built, kernel_node, &launch));
        }
        OK(cuGraphLaunch(built, stream));
        host_advance(second, WORDS, by);
        if (round % 4 == 1) {
            OK(cuStreamSynchronize(stream));
            CHECK(digest(a, WORDS) == host_digest(first, WORDS));
            CHECK(digest(b, WORDS) == host_digest(second, WORDS));
            CHECK(digest(large + 65536, WORDS) == host_digest(second, WORDS));
            sum = sum * 7 + digest(large, wide);
        }
    }
    OK(cuStreamSynchronize(stream));
    uint counted_there;
    OK(cuMemcpyDtoH(&counted_there, counter, 4));
    printf("graphs: %016llx, counted %u and %u of %ld\n", (unsigned long long)sum, counted_there, on_host, rounds);
    printf("words: %016llx\n", (unsigned long long)(digest(a, WORDS) + digest(b, WORDS)));
    OK(cuGraphExecDestroy(replay));
    OK(cuGraphExecDestroy(built));
    OK(cuGraphDestroy(made));
    OK(cuMemFree(a));
    OK(cuMemFree(b));
    OK(cuMemFree(large));
    OK(cuMemFree(counter));
    OK(cuEventDestroy(fork));
    OK(cuEventDestroy(join));
    OK(cuStreamDestroy(stream));
    OK(cuStreamDestroy(side));
    close_device();
    return 0;
}
