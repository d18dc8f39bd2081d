/*
 * patterns: an OpenCL program that writes its buffers in a known pattern, so that what a migration sent can be compared
 * with what had really changed.
 *
 * Memory is counted in chunks of 4 KiB over all buffers. A chunk's content is a function of its number and its
 * *version*, the number of the step that wrote it last (0: never). Every --period-ms one step writes:
 *
 *     none         nothing
 *     scattered    a fraction of all chunks, spread evenly; none twice before all had their turn
 *     window       as many in a row, the window moving on with every step
 *     everything   all of them
 *     aba          as `window` at odd steps; even ones put the old content back
 *
 * In between it reads a buffer of its own over and over (`stream`), for how much a migration slows programs down, or with
 * --stream no does nothing.
 *
 *     patterns --pattern NAME [--mib N] [--buffers N] [--fraction F] [--period-ms N] [--stream yes|no] [--log FILE]
 *         runs until SIGTERM, checks every word on the device, prints "PROGRAM OK" or "PROGRAM FAILED ...". The log gets
 *         a line for each thing done, "step NUMBER FROM TO" or "stream FROM TO", in seconds since 1970.
 *     patterns --pattern NAME ... --count FROM-TO
 *         no OpenCL: prints how many bytes differ between before step FROM and after step TO.
 */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 4096u
#define LANES 256u /* work-items that write one chunk, 16 bytes each */
#define MOST_BUFFERS 64
#define STREAM_BYTES ((size_t)64 << 20)

static const char *const SOURCE =
    "uint word(ulong at, uint version)\n"
    "{\n"
    "    uint v = (uint)at * 2654435761u ^ (uint)(at >> 32) * 2246822519u ^ version * 3266489917u;\n"
    "    return (v ^ v >> 15) * 2654435761u;\n"
    "}\n"
    "uint4 words(ulong at, uint version)\n"
    "{\n"
    "    return (uint4)(word(at, version), word(at + 1, version), word(at + 2, version), word(at + 3, version));\n"
    "}\n"
    /* The j-th chunk of a step is number (start + j * stride) modulo all. */
    "__kernel void touch(__global uint4 *buffer, ulong first, ulong chunks, ulong all, ulong start, ulong stride, uint version)\n"
    "{\n"
    "    const ulong j = get_global_id(0) / 256, lane = get_global_id(0) % 256;\n"
    "    const ulong chunk = (start + j * stride % all) % all;\n"
    "    if (chunk < first || chunk >= first + chunks) return;\n"
    "    buffer[(chunk - first) * 256 + lane] = words(chunk * 1024 + lane * 4, version);\n"
    "}\n"
    "__kernel void check(__global const uint4 *buffer, __global const uint *versions, ulong first, __global uint *wrong)\n"
    "{\n"
    "    const ulong i = get_global_id(0);\n"
    "    const uint4 good = words(first * 1024 + i * 4, versions[i / 256]);\n"
    "    if (any(buffer[i] != good)) atomic_inc(wrong);\n"
    "}\n"
    "__kernel void stream(__global const uint4 *from, __global uint4 *to, uint rounds)\n"
    "{\n"
    "    const uint n = get_global_size(0);\n"
    "    uint4 sum = 0;\n"
    "    for (uint r = 0; r < rounds; r++)\n"
    "        for (uint i = get_global_id(0); i < 4194304u; i += n) sum += from[i] ^ r;\n"
    "    to[get_global_id(0)] = sum;\n"
    "}\n";

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

static void check(cl_int error, const char *call)
{
    if (error != CL_SUCCESS) {
        printf("PROGRAM FAILED %s: error %d\n", call, error);
        exit(2);
    }
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

/* One buffer's part of all chunks. */
struct part {
    cl_mem buffer;
    uint64_t first, chunks;
};

struct gpu {
    cl_context context;
    cl_command_queue queue;
    cl_kernel touch, check, stream;
    struct part parts[MOST_BUFFERS];
    unsigned buffers;
    int streams;
    cl_mem from, to;
};

static void set(cl_kernel kernel, cl_uint index, size_t size, const void *value)
{
    check(clSetKernelArg(kernel, index, size, value), "clSetKernelArg");
}

static void launch(struct gpu *gpu, cl_kernel kernel, size_t items, const size_t *group)
{
    check(clEnqueueNDRangeKernel(gpu->queue, kernel, 1, NULL, &items, group, 0, NULL, NULL), "clEnqueueNDRangeKernel");
}

static void touch(struct gpu *gpu, const struct plan *plan, struct step step)
{
    for (unsigned i = 0; i < gpu->buffers; i++) {
        struct part *part = &gpu->parts[i];
        set(gpu->touch, 0, sizeof part->buffer, &part->buffer);
        set(gpu->touch, 1, 8, &part->first);
        set(gpu->touch, 2, 8, &part->chunks);
        set(gpu->touch, 3, 8, &plan->all);
        set(gpu->touch, 4, 8, &step.start);
        set(gpu->touch, 5, 8, &step.stride);
        set(gpu->touch, 6, 4, &step.version);
        if (step.count) launch(gpu, gpu->touch, step.count * LANES, &(size_t){LANES});
    }
}

static void stream(struct gpu *gpu, cl_uint rounds)
{
    set(gpu->stream, 0, sizeof gpu->from, &gpu->from);
    set(gpu->stream, 1, sizeof gpu->to, &gpu->to);
    set(gpu->stream, 2, sizeof rounds, &rounds);
    launch(gpu, gpu->stream, 1 << 16, NULL);
    check(clFinish(gpu->queue), "clFinish");
}

/* Rounds of the stream that take about 4 ms. */
static cl_uint calibrate(struct gpu *gpu)
{
    for (cl_uint rounds = 1;; rounds *= 2) {
        double start = seconds();
        stream(gpu, rounds);
        if (seconds() - start > 4e-3 || rounds >= 1024) return rounds;
    }
}

static cl_mem buffer(struct gpu *gpu, size_t bytes)
{
    cl_int error;
    cl_mem made = clCreateBuffer(gpu->context, CL_MEM_READ_WRITE, bytes, NULL, &error);
    check(error, "clCreateBuffer");
    return made;
}

static void start(struct gpu *gpu, const struct plan *plan)
{
    cl_int error;
    cl_platform_id platform;
    cl_device_id device;
    char name[256] = "";
    check(clGetPlatformIDs(1, &platform, NULL), "clGetPlatformIDs");
    check(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL), "clGetDeviceIDs");
    check(clGetDeviceInfo(device, CL_DEVICE_NAME, sizeof name, name, NULL), "clGetDeviceInfo");
    printf("device: %s\n", name);
    gpu->context = clCreateContext(NULL, 1, &device, NULL, NULL, &error);
    check(error, "clCreateContext");
    gpu->queue = clCreateCommandQueue(gpu->context, device, 0, &error);
    check(error, "clCreateCommandQueue");
    cl_program program = clCreateProgramWithSource(gpu->context, 1, (const char **)&SOURCE, NULL, &error);
    check(error, "clCreateProgramWithSource");
    check(clBuildProgram(program, 1, &device, "", NULL, NULL), "clBuildProgram");
    gpu->touch = clCreateKernel(program, "touch", &error);
    check(error, "clCreateKernel");
    gpu->check = clCreateKernel(program, "check", &error);
    check(error, "clCreateKernel");
    gpu->stream = clCreateKernel(program, "stream", &error);
    check(error, "clCreateKernel");

    uint64_t first = 0;
    for (unsigned i = 0; i < gpu->buffers; i++) {
        uint64_t chunks = plan->all / gpu->buffers + (i < plan->all % gpu->buffers);
        gpu->parts[i] = (struct part){buffer(gpu, chunks * CHUNK), first, chunks};
        first += chunks;
    }
    if (gpu->streams) {
        gpu->from = buffer(gpu, STREAM_BYTES);
        gpu->to = buffer(gpu, (1 << 16) * 16);
        check(clEnqueueFillBuffer(gpu->queue, gpu->from, &(cl_uint){7}, 4, 0, STREAM_BYTES, 0, NULL, NULL), "clEnqueueFillBuffer");
    }
    /* All of it at version 0. */
    touch(gpu, plan, (struct step){.count = plan->all, .stride = 1});
    check(clFinish(gpu->queue), "clFinish");
}

/* How many 16-byte words are wrong. */
static cl_uint verify(struct gpu *gpu, const struct plan *plan, uint32_t last)
{
    uint32_t *versions = get(plan->all * sizeof *versions);
    follow(plan, versions, 1, last);
    cl_uint wrong = 0;
    cl_mem counter = buffer(gpu, sizeof wrong);
    check(clEnqueueWriteBuffer(gpu->queue, counter, CL_TRUE, 0, sizeof wrong, &wrong, 0, NULL, NULL), "clEnqueueWriteBuffer");
    for (unsigned i = 0; i < gpu->buffers; i++) {
        struct part *part = &gpu->parts[i];
        cl_mem table = buffer(gpu, part->chunks * sizeof *versions);
        check(clEnqueueWriteBuffer(gpu->queue, table, CL_TRUE, 0, part->chunks * sizeof *versions, versions + part->first, 0,
                                   NULL, NULL),
              "clEnqueueWriteBuffer");
        set(gpu->check, 0, sizeof part->buffer, &part->buffer);
        set(gpu->check, 1, sizeof table, &table);
        set(gpu->check, 2, 8, &part->first);
        set(gpu->check, 3, sizeof counter, &counter);
        launch(gpu, gpu->check, part->chunks * LANES, &(size_t){LANES});
        check(clFinish(gpu->queue), "clFinish");
        check(clReleaseMemObject(table), "clReleaseMemObject");
    }
    check(clEnqueueReadBuffer(gpu->queue, counter, CL_TRUE, 0, sizeof wrong, &wrong, 0, NULL, NULL), "clEnqueueReadBuffer");
    free(versions);
    return wrong;
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

static int run(const struct plan *plan, unsigned buffers, double period, int streams, const char *log)
{
    struct gpu gpu = {.buffers = buffers, .streams = streams};
    start(&gpu, plan);
    cl_uint rounds = streams ? calibrate(&gpu) : 0;
    printf("running: %" PRIu64 " MiB in %u buffers, pattern %s, %" PRIu64 " chunks a step\n", plan->all * CHUNK >> 20, buffers,
           NAMES[plan->pattern], plan->count);
    uint32_t done = 0;
    double due = seconds() + period;
    while (!stopped) {
        double from = seconds();
        if (streams) {
            stream(&gpu, rounds);
            note(0, from);
        } else if (from < due) {
            usleep((useconds_t)((due - from) * 1e6));
        }
        if (seconds() < due) continue;
        due = seconds() + period;
        if (plan->pattern == NONE) continue;
        from = seconds();
        touch(&gpu, plan, make_step(plan, ++done));
        check(clFinish(gpu.queue), "clFinish");
        note(done, from);
        due = seconds() + period;
    }
    if (log && !write_log(log)) {
        printf("PROGRAM FAILED cannot write %s\n", log);
        return 2;
    }
    cl_uint wrong = verify(&gpu, plan, done);
    if (wrong) {
        printf("PROGRAM FAILED %u words wrong after %" PRIu32 " steps\n", wrong, done);
        return 1;
    }
    printf("PROGRAM OK after %" PRIu32 " steps\n", done);
    return 0;
}

int main(int argc, char **argv)
{
    enum pattern pattern = PATTERNS;
    uint64_t mib = 64;
    unsigned buffers = 3;
    double fraction = 0.01, period = 0.1;
    const char *log = NULL;
    unsigned from = 0, to = 0;
    int streams = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (!strcmp(argv[i], "--pattern"))
            for (pattern = NONE; pattern < PATTERNS && strcmp(value, NAMES[pattern]) != 0;) pattern++;
        else if (!strcmp(argv[i], "--mib")) mib = strtoull(value, NULL, 10);
        else if (!strcmp(argv[i], "--buffers")) buffers = (unsigned)strtoul(value, NULL, 10);
        else if (!strcmp(argv[i], "--fraction")) fraction = strtod(value, NULL);
        else if (!strcmp(argv[i], "--period-ms")) period = strtod(value, NULL) / 1e3;
        else if (!strcmp(argv[i], "--stream") && (!strcmp(value, "yes") || !strcmp(value, "no"))) streams = *value == 'y';
        else if (!strcmp(argv[i], "--log")) log = value;
        else if (!strcmp(argv[i], "--count") && sscanf(value, "%u-%u", &from, &to) == 2 && from > 0) continue;
        else argc = 0;
    }
    if (argc % 2 == 0 || pattern == PATTERNS || mib == 0 || buffers == 0 || buffers > MOST_BUFFERS || fraction <= 0 || fraction > 1) {
        fprintf(stderr, "usage: patterns --pattern none|scattered|window|everything|aba [--mib N] [--buffers 1..64] [--fraction F]\n"
                        "                [--period-ms N] [--stream yes|no] [--log FILE] [--count FROM-TO]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGTERM, on_signal);
    struct plan plan = make_plan(pattern, mib << 20 >> 12, fraction);
    return from ? count(&plan, from, to) : run(&plan, buffers, period, streams, log);
}
