/*
 * wave: the program of ../wave.c on CUDA; its result proves that no step was lost, repeated or done on stale data.
 *
 *     wave [--mib TOTAL] [--hot MIB] [--one-in N] [--steps N | --seconds S] [--pause-ms N] [--cold-every N]
 *
 * Without --steps or --seconds it runs until SIGTERM. Then it checks every word on the CPU and prints
 * "PROGRAM OK <digest>", or "PROGRAM FAILED ..." with exit status 1. A failing CUDA call ends it with that, too.
 */
#include "user.h"
#include "../wave.h"

/* Besides there is a small string, which the driver's own checkpoint takes along. */
enum { STRINGS = 1 + COLD_STRINGS + 1, SMALL = 64 << 10 };

struct string {
    uint64_t words, points, time; /* [time % 2] holds u(time), the other one u(time - 1) */
    CUdeviceptr at[2];
};

static struct string create(size_t bytes, size_t one_in)
{
    struct string s = {.words = bytes / 2 / 4, .points = bytes / 2 / 4 / one_in, .time = 1};
    uint32_t *u = malloc(s.words * 4);
    for (int t = 0; t < 2; t++) {
        state(u, s.words, s.points, (uint64_t)t);
        OK(cuMemAlloc(&s.at[t], s.words * 4));
        OK(cuMemcpyHtoD(s.at[t], u, s.words * 4));
    }
    free(u);
    return s;
}

static void step(struct string *s, CUfunction function, CUstream stream)
{
    CUdeviceptr *now = &s->at[s->time % 2], *before = &s->at[(s->time + 1) % 2];
    LAUNCH(function, s->points, stream, now, before, &s->points);
    s->time++;
}

static size_t verify(const struct string *s, int number, uint64_t *digest)
{
    size_t wrong = 0;
    uint32_t *got = malloc(s->words * 4);
    for (int back = 0; back < 2; back++) {
        uint64_t t = s->time - (uint64_t)back;
        OK(cuMemcpyDtoH(got, s->at[t % 2], s->words * 4));
        wrong += wrong_words(got, s->words, s->points, t, number, digest);
    }
    free(got);
    return wrong;
}

int main(int argc, char **argv)
{
    struct wave wave = wave_asked(argc, argv);
    struct string strings[STRINGS];
    CUstream stream;
    char name[100];
    open_device();
    OK(cuDeviceGetName(name, sizeof name, device));
    printf("device: %s\n", name);
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUfunction function = kernel("wave_step");
    strings[0] = create(wave.hot_mib << 20, wave.one_in);
    for (int i = 1; i <= COLD_STRINGS; i++) strings[i] = create((wave.mib - wave.hot_mib) / COLD_STRINGS << 20, wave.one_in);
    strings[STRINGS - 1] = create(SMALL, 1);
    wave_begins(&wave);
    while (wave_goes_on(&wave)) {
        int cold = cold_string(&wave);
        step(&strings[0], function, stream);
        if (cold >= 0) step(&strings[1 + cold], function, stream);
        OK(cuStreamSynchronize(stream));
        stepped(&wave);
    }
    size_t wrong = 0;
    uint64_t digest = NO_DIGEST;
    for (int i = 0; i < STRINGS; i++) {
        step(&strings[i], function, stream);
        OK(cuStreamSynchronize(stream));
        wrong += verify(&strings[i], i, &digest);
    }
    printf("%" PRIu64 " steps, the longest took %.3f s\n", wave.done, wave.longest);
    for (int i = 0; i < STRINGS; i++)
        for (int t = 0; t < 2; t++) OK(cuMemFree(strings[i].at[t]));
    OK(cuStreamDestroy(stream));
    close_device();
    return wave_verdict(wrong, digest);
}
