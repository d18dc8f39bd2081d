/* Streams, events, host functions, callbacks and waits for values in memory: streams [ROUNDS] */
#include "user.h"

enum { STREAMS = 6, WORDS = 4096 };

struct step {
    int number;
    uint *order;
    int *places;
};
static int next_place;

static void noted(void *user)
{
    struct step *step = user;
    step->order[__atomic_fetch_add(&next_place, 1, __ATOMIC_SEQ_CST)] = step->number;
}

static void called_back(CUstream stream, CUresult status, void *user)
{
    (void)stream;
    CHECK(status == CUDA_SUCCESS);
    noted(user);
}

int main(int argc, char **argv)
{
    long rounds = argument(argc, argv, 1, 25);
    CUstream streams[STREAMS];
    CUevent events[STREAMS], begun, ended;
    CUdeviceptr words[STREAMS], flag;
    uint *expected = malloc(WORDS * 4);
    int least, greatest;
    open_device();
    OK(cuCtxGetStreamPriorityRange(&least, &greatest));
    for (int i = 0; i < STREAMS; i++) {
        unsigned flags;
        int priority;
        if (i % 2)
            OK(cuStreamCreateWithPriority(&streams[i], CU_STREAM_NON_BLOCKING, greatest));
        else
            OK(cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING));
        OK(cuStreamGetFlags(streams[i], &flags));
        OK(cuStreamGetPriority(streams[i], &priority));
        CHECK(flags == CU_STREAM_NON_BLOCKING && (i % 2 == 0 || priority == greatest));
        CUcontext own;
        OK(cuStreamGetCtx(streams[i], &own));
        CHECK(own == context);
        OK(cuEventCreate(&events[i], CU_EVENT_DISABLE_TIMING));
        OK(cuMemAlloc(&words[i], WORDS * 4));
    }
    OK(cuEventCreate(&begun, CU_EVENT_DEFAULT));
    OK(cuEventCreate(&ended, CU_EVENT_BLOCKING_SYNC));
    OK(cuMemAlloc(&flag, 4));
    OK(cuMemsetD32(flag, 0, 1));
    OK(cuEventRecord(begun, NULL));
    host_fill(expected, WORDS, 1);
    OK(cuMemcpyHtoD(words[0], expected, WORDS * 4));
    /* A relay: each stream waits for the one before it, takes its words over, and works on them. */
    for (long round = 0; round < rounds; round++) {
        for (int i = 0; i < STREAMS; i++) {
            int before = (i + STREAMS - 1) % STREAMS;
            if (round || i) {
                OK(cuStreamWaitEvent(streams[i], events[before], 0));
                OK(cuMemcpyDtoDAsync(words[i], words[before], WORDS * 4, streams[i]));
            }
            advance(words[i], WORDS, (uint)(round * STREAMS + i), streams[i]);
            host_advance(expected, WORDS, (uint)(round * STREAMS + i));
            OK(cuEventRecord(events[i], streams[i]));
        }
    }
    OK(cuEventSynchronize(events[STREAMS - 1]));
    OK(cuEventQuery(events[0]));
    uint64_t relay = digest(words[STREAMS - 1], WORDS);
    CHECK(relay == host_digest(expected, WORDS));
    printf("relay: %016llx\n", (unsigned long long)relay);

    /* Host functions between commands of one stream run in order; the word is what it is at that point. */
    enum { STEPS = 40 };
    uint order[STEPS];
    struct step steps[STEPS];
    for (int i = 0; i < STEPS; i++) {
        steps[i] = (struct step){i, order, NULL};
        advance(words[0], WORDS, i, streams[0]);
        if (i % 3)
            OK(cuLaunchHostFunc(streams[0], noted, &steps[i]));
        else
            OK(cuStreamAddCallback(streams[0], called_back, &steps[i], 0));
    }
    OK(cuStreamSynchronize(streams[0]));
    CHECK(next_place == STEPS);
    for (int i = 0; i < STEPS; i++) CHECK(order[i] == (uint)i);
    printf("in order: %016llx\n", (unsigned long long)digest(words[0], WORDS));

    /* One stream waits for a value that another writes. */
    for (uint round = 1; round <= 10; round++) {
        OK(cuStreamWaitValue32(streams[1], flag, round, CU_STREAM_WAIT_VALUE_GEQ));
        OK(cuMemcpyDtoDAsync(words[1], words[0], WORDS * 4, streams[1]));
        advance(words[0], WORDS, round, streams[2]);
        OK(cuStreamWriteValue32(streams[2], flag, round, CU_STREAM_WRITE_VALUE_DEFAULT));
        while (cuStreamQuery(streams[1]) == CUDA_ERROR_NOT_READY) sched_yield();
        CHECK(digest(words[1], WORDS) == digest(words[0], WORDS));
    }
    printf("by value: %016llx\n", (unsigned long long)digest(words[1], WORDS));

    OK(cuEventRecord(ended, NULL));
    OK(cuEventSynchronize(ended));
    float ms;
    OK(cuEventElapsedTime(&ms, begun, ended));
    CHECK(ms >= 0);
    for (int i = 0; i < STREAMS; i++) {
        OK(cuEventDestroy(events[i]));
        OK(cuMemFree(words[i]));
        OK(cuStreamDestroy(streams[i]));
    }
    /* Made and destroyed all the time, with work in them. */
    CUdeviceptr at;
    OK(cuMemAlloc(&at, WORDS * 4));
    OK(cuMemsetD32(at, 1, WORDS));
    for (uint i = 0; i < 50; i++) {
        CUstream stream;
        CUevent event;
        OK(cuStreamCreate(&stream, CU_STREAM_DEFAULT));
        OK(cuEventCreate(&event, CU_EVENT_DEFAULT));
        advance(at, WORDS, i, stream);
        OK(cuEventRecord(event, stream));
        OK(cuStreamWaitEvent(NULL, event, 0));
        OK(cuEventDestroy(event));
        OK(cuStreamDestroy(stream));
    }
    OK(cuCtxSynchronize());
    printf("short-lived: %016llx\n", (unsigned long long)digest(at, WORDS));
    OK(cuMemFree(at));
    close_device();
    return 0;
}
