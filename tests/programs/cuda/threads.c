/* Threads with a context each, and threads that share one, each with a default stream of its own: threads [THREADS] [ROUNDS] */
#define CUDA_API_PER_THREAD_DEFAULT_STREAM
#include "user.h"

enum { WORDS = 5000, MOST = 64 };
static long rounds;

struct worker {
    pthread_t thread;
    uint number;
    int own_context;
    uint64_t digest;
};

static void *work(void *user)
{
    struct worker *worker = user;
    CUcontext own = NULL;
    CUmodule loaded = module;
    CUfunction grow;
    CUdeviceptr at;
    uint64_t words = WORDS;
    uint *expected = malloc(WORDS * 4), *back = malloc(WORDS * 4);
    if (worker->own_context) {
        OK(cuCtxCreate(&own, 0, device));
        OK(cuModuleLoadData(&loaded, kernels_ptx));
    } else {
        OK(cuCtxSetCurrent(context));
    }
    OK(cuModuleGetFunction(&grow, loaded, "advance"));
    OK(cuMemAlloc(&at, WORDS * 4));
    host_fill(expected, WORDS, worker->number);
    OK(cuMemcpyHtoD(at, expected, WORDS * 4));
    for (uint round = 0; round < (uint)rounds; round++) {
        /* The stream of the thread by three names. */
        CUstream stream = round % 2 ? CU_STREAM_PER_THREAD : NULL;
        LAUNCH(grow, WORDS, stream, &at, &words, &round);
        host_advance(expected, WORDS, round);
        if (round % 5 == worker->number % 5) OK(cuStreamSynchronize(NULL));
        if (round % 7 == 3) {
            CUdeviceptr other;
            OK(cuMemAlloc(&other, WORDS * 4));
            OK(cuMemcpyDtoD(other, at, WORDS * 4));
            OK(cuMemFree(at));
            at = other;
        }
    }
    OK(cuMemcpyDtoHAsync(back, at, WORDS * 4, NULL));
    OK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
    CHECK(!memcmp(back, expected, WORDS * 4));
    worker->digest = host_digest(back, WORDS);
    OK(cuMemFree(at));
    if (own) OK(cuCtxDestroy(own));
    free(expected);
    free(back);
    return NULL;
}

int main(int argc, char **argv)
{
    int count = argument(argc, argv, 1, 12);
    rounds = argument(argc, argv, 2, 15);
    struct worker workers[MOST] = {0};
    CHECK(count <= MOST);
    open_device();
    for (int i = 0; i < count; i++) {
        workers[i].number = i;
        workers[i].own_context = i % 4 == 0;
        CHECK(!pthread_create(&workers[i].thread, NULL, work, &workers[i]));
    }
    for (int i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
        printf("%d: %016llx\n", i, (unsigned long long)workers[i].digest);
    }
    close_device();
    return 0;
}
