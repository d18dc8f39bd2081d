/* Kernels that take long, several at once: longer [KERNELS] [ROUNDS OF EACH WORD] */
#include "user.h"

enum { WORDS = 512, STREAMS = 3 };

int main(int argc, char **argv)
{
    int kernels = argument(argc, argv, 1, 6);
    uint rounds = argument(argc, argv, 2, 300);
    CUdeviceptr at[STREAMS];
    CUstream streams[STREAMS];
    uint64_t words = WORDS;
    open_device();
    CUfunction work = kernel("work");
    for (int i = 0; i < STREAMS; i++) {
        OK(cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING));
        OK(cuMemAlloc(&at[i], WORDS * 4));
        fill(at[i], WORDS, i, streams[i]);
    }
    for (int i = 0; i < kernels; i++) {
        CUdeviceptr *words_at = &at[i % STREAMS];
        LAUNCH(work, WORDS, streams[i % STREAMS], words_at, &words, &rounds);
    }
    for (int i = 0; i < STREAMS; i++) {
        OK(cuStreamSynchronize(streams[i]));
        printf("%016llx\n", (unsigned long long)digest(at[i], WORDS));
        OK(cuMemFree(at[i]));
        OK(cuStreamDestroy(streams[i]));
    }
    close_device();
    return 0;
}
