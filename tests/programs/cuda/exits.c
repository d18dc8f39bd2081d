/* Ends in the middle of things: exits WAY, one of return exit _exit thread handler pthread_exit. */
#include "user.h"

static CUdeviceptr at, small;
static CUstream stream;

static void at_exit(void)
{
    /* A library's handler that tidies up; the driver may say that it has gone already. */
    CUresult result = cuMemFree(at);
    CHECK(result == CUDA_SUCCESS || result == CUDA_ERROR_DEINITIALIZED);
    printf("tidied\n");
    fflush(stdout);
}

static void *ends(void *user)
{
    OK(cuCtxSetCurrent(context));
    for (uint i = 0; i < 30; i++) advance(small, 1000, i, stream);
    if (user) exit(0);
    return NULL;
}

static void *ends_later(void *user)
{
    (void)user;
    OK(cuCtxSetCurrent(context));
    sleep_ms(20);
    OK(cuMemAlloc(&at, 1 << 20));
    exit(0);
}

int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "return";
    pthread_t thread;
    setvbuf(stdout, NULL, _IOLBF, 0);
    open_device();
    if (!strcmp(way, "handler")) atexit(at_exit);
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuMemAlloc(&at, 2 << 20));
    OK(cuMemAlloc(&small, 4000));
    OK(cuMemsetD32(at, 1, 1 << 19));
    OK(cuMemsetD32(small, 1, 1000));
    for (uint i = 0; i < 40; i++) advance(small, 1000, i, stream);
    OK(cuStreamSynchronize(stream));
    printf("%s: %016llx\n", way, (unsigned long long)digest(small, 1000));
    /* Work that nobody waits for. */
    for (uint i = 0; i < 20; i++) advance(small, 1000, i, stream);
    if (!strcmp(way, "exit")) exit(0);
    if (!strcmp(way, "_exit")) _exit(0);
    if (!strcmp(way, "thread")) {
        CHECK(!pthread_create(&thread, NULL, ends, ""));
        /* Until the driver says that it has gone. */
        while (!cuMemsetD32Async(at, 1, 1000, NULL)) {}
        for (;;) pause();
    }
    if (!strcmp(way, "pthread_exit")) {
        CHECK(!pthread_create(&thread, NULL, ends_later, NULL));
        pthread_exit(NULL);
    }
    return 0;
}
