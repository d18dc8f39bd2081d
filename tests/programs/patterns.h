/* What patterns.c and cuda/patterns.c share: what each step writes, the log of steps, and the command line. */
#ifndef PATTERNS_H
#define PATTERNS_H
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 4096u
#define MOST_BUFFERS 64
#define STREAM_BYTES ((size_t)64 << 20)

enum pattern { NONE, SCATTERED, WINDOW, EVERYTHING, ABA, PATTERNS };
static const char *const NAMES[PATTERNS] = {"none", "scattered", "window", "everything", "aba"};

struct plan {
    enum pattern pattern;
    uint64_t all;    /* chunks */
    uint64_t count;  /* chunks that a step writes */
    uint64_t stride; /* prime to `all` */
};

/* What step `number` (from 1) writes: `count` chunks from `start`, with this version. */
struct step {
    uint64_t start, count, stride;
    uint32_t version;
};

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static struct plan make_plan(enum pattern pattern, uint64_t all, double fraction)
{
    struct plan plan = {.pattern = pattern, .all = all, .count = (uint64_t)((double)all * fraction), .stride = 1};
    if (plan.count == 0) plan.count = 1;
    if (pattern == NONE) plan.count = 0;
    if (pattern == EVERYTHING) plan.count = all;
    if (pattern == SCATTERED) /* the golden section spreads evenly */
        for (plan.stride = (uint64_t)((double)all * 0.6180339887) | 1; gcd(plan.stride, all) != 1;) plan.stride += 2;
    return plan;
}

static struct step make_step(const struct plan *plan, uint32_t number)
{
    uint64_t turn = plan->pattern == ABA ? (number - 1) / 2 : number - 1;
    uint64_t start = turn % plan->all * (plan->count % plan->all) % plan->all;
    if (plan->pattern == SCATTERED) start = start * (plan->stride % plan->all) % plan->all;
    return (struct step){.start = start,
                         .count = plan->count,
                         .stride = plan->stride,
                         .version = plan->pattern == ABA && number % 2 == 0 ? 0 : number};
}

/* Follows steps `from` to `to` in a table of versions. */
static void follow(const struct plan *plan, uint32_t *versions, uint32_t from, uint32_t to)
{
    for (uint32_t number = from; number <= to; number++) {
        struct step step = make_step(plan, number);
        for (uint64_t j = 0, chunk = step.start; j < step.count; j++, chunk = (chunk + step.stride) % plan->all)
            versions[chunk] = step.version;
    }
}

static void *get(size_t bytes)
{
    void *memory = calloc(1, bytes ? bytes : 1);
    if (!memory) {
        printf("PROGRAM FAILED no memory for %zu bytes\n", bytes);
        exit(2);
    }
    return memory;
}

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct record {
    uint32_t step; /* 0: the stream */
    double from, to;
};

static struct record *records;
static size_t records_used, records_room;

static void note(uint32_t step, double from)
{
    if (records_used == records_room) {
        records_room = records_room ? records_room * 2 : 4096;
        records = realloc(records, records_room * sizeof *records);
        if (!records) exit(2);
    }
    records[records_used++] = (struct record){step, from, seconds()};
}

static int write_log(const char *path)
{
    FILE *log = fopen(path, "w");
    if (!log) return 0;
    for (size_t i = 0; i < records_used; i++)
        if (records[i].step) fprintf(log, "step %" PRIu32 " %.6f %.6f\n", records[i].step, records[i].from, records[i].to);
        else fprintf(log, "stream %.6f %.6f\n", records[i].from, records[i].to);
    return fclose(log) == 0;
}

static int count(const struct plan *plan, uint32_t from, uint32_t to)
{
    uint32_t *before = get(plan->all * sizeof *before), *after = get(plan->all * sizeof *after);
    if (from > 1) follow(plan, before, 1, from - 1);
    memcpy(after, before, plan->all * sizeof *after);
    follow(plan, after, from, to);
    uint64_t different = 0;
    for (uint64_t chunk = 0; chunk < plan->all; chunk++) different += before[chunk] != after[chunk];
    printf("%" PRIu64 "\n", different * CHUNK);
    return 0;
}

struct asked {
    struct plan plan;
    unsigned buffers, from, to;
    double period;
    const char *log;
    int streams;
};

static struct asked asked(int argc, char **argv)
{
    enum pattern pattern = PATTERNS;
    uint64_t mib = 64;
    double fraction = 0.01;
    struct asked asked = {.buffers = 3, .period = 0.1, .streams = 1};
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (!strcmp(argv[i], "--pattern"))
            for (pattern = NONE; pattern < PATTERNS && strcmp(value, NAMES[pattern]) != 0;) pattern++;
        else if (!strcmp(argv[i], "--mib")) mib = strtoull(value, NULL, 10);
        else if (!strcmp(argv[i], "--buffers")) asked.buffers = (unsigned)strtoul(value, NULL, 10);
        else if (!strcmp(argv[i], "--fraction")) fraction = strtod(value, NULL);
        else if (!strcmp(argv[i], "--period-ms")) asked.period = strtod(value, NULL) / 1e3;
        else if (!strcmp(argv[i], "--stream") && (!strcmp(value, "yes") || !strcmp(value, "no"))) asked.streams = *value == 'y';
        else if (!strcmp(argv[i], "--log")) asked.log = value;
        else if (!strcmp(argv[i], "--count") && sscanf(value, "%u-%u", &asked.from, &asked.to) == 2 && asked.from > 0) continue;
        else argc = 0;
    }
    if (argc % 2 == 0 || pattern == PATTERNS || mib == 0 || asked.buffers == 0 || asked.buffers > MOST_BUFFERS || fraction <= 0 ||
        fraction > 1) {
        fprintf(stderr, "usage: patterns --pattern none|scattered|window|everything|aba [--mib N] [--buffers 1..64] [--fraction F]\n"
                        "                [--period-ms N] [--stream yes|no] [--log FILE] [--count FROM-TO]\n");
        exit(2);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGTERM, on_signal);
    asked.plan = make_plan(pattern, mib << 20 >> 12, fraction);
    return asked;
}

/* What the device does of it. */
static void write_step(struct step step);
static void stream_rounds(uint32_t rounds);

/* Rounds of the stream that take about 4 ms. */
static uint32_t calibrate(void)
{
    for (uint32_t rounds = 1;; rounds *= 2) {
        double start = seconds();
        stream_rounds(rounds);
        if (seconds() - start > 4e-3 || rounds >= 1024) return rounds;
    }
}

/* Steps until SIGTERM; the number of the last one. */
static uint32_t run_steps(const struct asked *asked)
{
    const struct plan *plan = &asked->plan;
    uint32_t rounds = asked->streams ? calibrate() : 0;
    printf("running: %" PRIu64 " MiB in %u buffers, pattern %s, %" PRIu64 " chunks a step\n", plan->all * CHUNK >> 20, asked->buffers,
           NAMES[plan->pattern], plan->count);
    uint32_t done = 0;
    double due = seconds() + asked->period;
    while (!stopped) {
        double from = seconds();
        if (asked->streams) {
            stream_rounds(rounds);
            note(0, from);
        } else if (from < due) {
            usleep((useconds_t)((due - from) * 1e6));
        }
        if (seconds() < due) continue;
        due = seconds() + asked->period;
        if (plan->pattern == NONE) continue;
        from = seconds();
        write_step(make_step(plan, ++done));
        note(done, from);
        due = seconds() + asked->period;
    }
    return done;
}

/* The exit status. */
static int patterns_verdict(const struct asked *asked, uint32_t done, uint32_t wrong)
{
    if (asked->log && !write_log(asked->log)) {
        printf("PROGRAM FAILED cannot write %s\n", asked->log);
        return 2;
    }
    if (wrong) {
        printf("PROGRAM FAILED %u words wrong after %" PRIu32 " steps\n", wrong, done);
        return 1;
    }
    printf("PROGRAM OK after %" PRIu32 " steps\n", done);
    return 0;
}

#endif
