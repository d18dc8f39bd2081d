/* What wave.c and cuda/wave.c share: the wave, which is known at any time, the command line, the steps' log and the verdict. */
#ifndef WAVE_H
#define WAVE_H
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COLD_STRINGS 4

struct wave {
    size_t mib, hot_mib, one_in;
    uint64_t steps, cold_every;
    double limit, pause;
    /* So far. */
    uint64_t done;
    double start, last, reported, longest;
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct wave wave_asked(int argc, char **argv)
{
    struct wave wave = {.mib = 64, .hot_mib = 8, .one_in = 1};
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (!strcmp(argv[i], "--mib")) wave.mib = strtoul(value, NULL, 10);
        else if (!strcmp(argv[i], "--hot")) wave.hot_mib = strtoul(value, NULL, 10);
        else if (!strcmp(argv[i], "--one-in")) wave.one_in = strtoul(value, NULL, 10);
        else if (!strcmp(argv[i], "--steps")) wave.steps = strtoull(value, NULL, 10);
        else if (!strcmp(argv[i], "--seconds")) wave.limit = strtod(value, NULL);
        else if (!strcmp(argv[i], "--pause-ms")) wave.pause = strtod(value, NULL) / 1e3;
        else if (!strcmp(argv[i], "--cold-every")) wave.cold_every = strtoull(value, NULL, 10);
        else argc = 0;
    }
    if (argc % 2 == 0 || wave.hot_mib == 0 || wave.one_in == 0 || wave.hot_mib + COLD_STRINGS > wave.mib) {
        fprintf(stderr, "usage: wave [--mib TOTAL] [--hot MIB] [--one-in N] [--steps N | --seconds S] [--pause-ms N] [--cold-every N]\n");
        exit(2);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGTERM, on_signal);
    return wave;
}

/* The two waves: any functions will do, so a scrambled index serves. */
static uint32_t f(size_t i)
{
    uint32_t v = (uint32_t)i * 2654435761u;
    return v ^ (v >> 15);
}

static uint32_t g(size_t i)
{
    uint32_t v = (uint32_t)i * 2246822519u + 374761393u;
    return v ^ (v >> 13);
}

/* u(t, 0 .. points - 1), and behind it what never changes */
static void state(uint32_t *u, size_t words, size_t points, uint64_t t)
{
    size_t right = t % points, left = (points - t % points) % points;
    for (size_t i = 0; i < points; i++) {
        u[i] = f(right) + g(left);
        right = right + 1 == points ? 0 : right + 1;
        left = left + 1 == points ? 0 : left + 1;
    }
    for (size_t i = points; i < words; i++) u[i] = f(i);
}

static void wave_begins(struct wave *wave)
{
    printf("running: %zu MiB, %zu of them hot\n", wave->mib, wave->hot_mib);
    wave->start = wave->last = wave->reported = seconds();
}

static int wave_goes_on(const struct wave *wave)
{
    return !stopped && (!wave->steps || wave->done < wave->steps) && (wave->limit <= 0 || wave->last - wave->start < wave->limit);
}

/* The cold string that steps now, or -1. */
static int cold_string(const struct wave *wave)
{
    if (!wave->cold_every || wave->done % wave->cold_every) return -1;
    return (int)(wave->done / wave->cold_every % COLD_STRINGS);
}

/* A step has ended. */
static void stepped(struct wave *wave)
{
    wave->done++;
    double now = seconds();
    wave->longest = now - wave->last > wave->longest ? now - wave->last : wave->longest;
    wave->last = now;
    if (now - wave->reported >= 1) {
        printf("step %" PRIu64 " after %.1f s\n", wave->done, now - wave->start);
        wave->reported = now;
    }
    if (wave->pause > 0) {
        struct timespec t = {.tv_sec = (time_t)wave->pause, .tv_nsec = (long)((wave->pause - (double)(time_t)wave->pause) * 1e9)};
        nanosleep(&t, NULL);
    }
}

#define NO_DIGEST 14695981039346656037u

/* How many words are not as they are at that time; `digest` takes in all of them (FNV-1a over words). */
static size_t wrong_words(const uint32_t *got, size_t words, size_t points, uint64_t t, int number, uint64_t *digest)
{
    size_t wrong = 0;
    uint32_t *expected = malloc(words * sizeof *expected);
    state(expected, words, points, t);
    for (size_t i = 0; i < words; i++) {
        *digest = (*digest ^ got[i]) * 1099511628211u;
        if (got[i] != expected[i] && wrong++ == 0)
            printf("string %d at time %" PRIu64 ": word %zu is %08x, not %08x\n", number, t, i, got[i], expected[i]);
    }
    free(expected);
    return wrong;
}

/* The exit status. */
static int wave_verdict(size_t wrong, uint64_t digest)
{
    if (wrong) {
        printf("PROGRAM FAILED %zu words wrong\n", wrong);
        return 1;
    }
    printf("PROGRAM OK %016" PRIx64 "\n", digest);
    return 0;
}

#endif
