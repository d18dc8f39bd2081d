/*
 * wave: an ordinary OpenCL program whose result proves that no step was lost, repeated or done on stale data.
 *
 * It integrates the discrete wave equation on closed strings of n points, in arithmetic modulo 2^32:
 *
 *     u(t+1, i) = u(t, i-1) + u(t, i+1) - u(t-1, i)
 *
 * Started from u(0, i) = f(i) + g(i) and u(1, i) = f(i+1) + g(i-1), two travelling waves, the state after any number of
 * steps is known without repeating them (d'Alembert): u(t, i) = f(i+t) + g(i-t). Each string is two buffers, u(t) and u(t-1).
 *
 * One string is "hot" and steps all the time; the others step once in a while, and all once more at the end.
 *
 *     wave [--mib TOTAL] [--hot MIB] [--steps N | --seconds S] [--pause-ms N] [--cold-every N]
 *
 * Without --steps or --seconds it runs until SIGTERM. Then it checks every word on the CPU and prints
 * "PROGRAM OK <digest>", or "PROGRAM FAILED ..." with exit status 1. Any failing OpenCL call ends it with status 2.
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

#define COLD_STRINGS 4

static const char *const SOURCE =
    "__kernel void wave_step(__global const uint *now, __global uint *before)\n"
    "{\n"
    "    const size_t i = get_global_id(0), n = get_global_size(0);\n"
    "    before[i] = now[i ? i - 1 : n - 1] + now[i + 1 < n ? i + 1 : 0] - before[i];\n"
    "}\n";

struct string {
    size_t points;
    uint64_t time;    /* the buffer [time % 2] holds u(time), the other one u(time - 1) */
    cl_mem buffer[2];
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

static void check(cl_int error, const char *call)
{
    if (error != CL_SUCCESS) {
        printf("PROGRAM FAILED %s: error %d\n", call, error);
        exit(2);
    }
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

/* u(t, 0 .. points - 1) */
static void state(uint32_t *u, size_t points, uint64_t t)
{
    size_t right = t % points, left = (points - t % points) % points;
    for (size_t i = 0; i < points; i++) {
        u[i] = f(right) + g(left);
        right = right + 1 == points ? 0 : right + 1;
        left = left + 1 == points ? 0 : left + 1;
    }
}

static struct string create(cl_context context, size_t mib)
{
    struct string s = {.points = (mib << 20) / 2 / sizeof(uint32_t), .time = 1};
    uint32_t *u = malloc(s.points * sizeof *u);
    for (int t = 0; t < 2; t++) {
        cl_int error;
        state(u, s.points, (uint64_t)t);
        s.buffer[t] = clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, s.points * sizeof *u, u, &error);
        check(error, "clCreateBuffer");
    }
    free(u);
    return s;
}

static void step(struct string *s, cl_command_queue queue, cl_kernel kernel)
{
    cl_mem *now = &s->buffer[s->time % 2], *before = &s->buffer[(s->time + 1) % 2];
    check(clSetKernelArg(kernel, 0, sizeof *now, now), "clSetKernelArg");
    check(clSetKernelArg(kernel, 1, sizeof *before, before), "clSetKernelArg");
    check(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &s->points, NULL, 0, NULL, NULL), "clEnqueueNDRangeKernel");
    s->time++;
}

/* The number of wrong words; `digest` takes in all that was read (FNV-1a over words). */
static size_t verify(const struct string *s, int number, cl_command_queue queue, uint64_t *digest)
{
    size_t wrong = 0, bytes = s->points * sizeof(uint32_t);
    uint32_t *got = malloc(bytes), *expected = malloc(bytes);
    for (int back = 0; back < 2; back++) {
        uint64_t t = s->time - (uint64_t)back;
        check(clEnqueueReadBuffer(queue, s->buffer[t % 2], CL_TRUE, 0, bytes, got, 0, NULL, NULL), "clEnqueueReadBuffer");
        state(expected, s->points, t);
        for (size_t i = 0; i < s->points; i++) {
            *digest = (*digest ^ got[i]) * 1099511628211u;
            if (got[i] != expected[i] && wrong++ == 0)
                printf("string %d at time %" PRIu64 ": point %zu is %08x, not %08x\n", number, t, i, got[i], expected[i]);
        }
    }
    free(got);
    free(expected);
    return wrong;
}

static cl_device_id device(cl_platform_id *platform)
{
    cl_device_id device;
    char name[256] = "";
    check(clGetPlatformIDs(1, platform, NULL), "clGetPlatformIDs");
    check(clGetDeviceIDs(*platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL), "clGetDeviceIDs");
    check(clGetDeviceInfo(device, CL_DEVICE_NAME, sizeof name, name, NULL), "clGetDeviceInfo");
    printf("device: %s\n", name);
    return device;
}

static cl_kernel build(cl_context context, cl_device_id device)
{
    cl_int error;
    cl_program program = clCreateProgramWithSource(context, 1, (const char **)&SOURCE, NULL, &error);
    check(error, "clCreateProgramWithSource");
    check(clBuildProgram(program, 1, &device, "", NULL, NULL), "clBuildProgram");
    cl_kernel kernel = clCreateKernel(program, "wave_step", &error);
    check(error, "clCreateKernel");
    check(clReleaseProgram(program), "clReleaseProgram");
    return kernel;
}

int main(int argc, char **argv)
{
    size_t mib = 64, hot_mib = 8;
    uint64_t steps = 0, cold_every = 0;
    double limit = 0, pause = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (!strcmp(argv[i], "--mib")) mib = strtoul(value, NULL, 10);
        else if (!strcmp(argv[i], "--hot")) hot_mib = strtoul(value, NULL, 10);
        else if (!strcmp(argv[i], "--steps")) steps = strtoull(value, NULL, 10);
        else if (!strcmp(argv[i], "--seconds")) limit = strtod(value, NULL);
        else if (!strcmp(argv[i], "--pause-ms")) pause = strtod(value, NULL) / 1e3;
        else if (!strcmp(argv[i], "--cold-every")) cold_every = strtoull(value, NULL, 10);
        else argc = 0;
    }
    if (argc % 2 == 0 || hot_mib == 0 || hot_mib + COLD_STRINGS > mib) {
        fprintf(stderr, "usage: wave [--mib TOTAL] [--hot MIB] [--steps N | --seconds S] [--pause-ms N] [--cold-every N]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGTERM, on_signal);

    cl_int error;
    cl_platform_id platform;
    cl_device_id dev = device(&platform);
    cl_context context = clCreateContext(NULL, 1, &dev, NULL, NULL, &error);
    check(error, "clCreateContext");
    cl_command_queue queue = clCreateCommandQueue(context, dev, 0, &error);
    check(error, "clCreateCommandQueue");
    cl_kernel kernel = build(context, dev);

    struct string strings[1 + COLD_STRINGS];
    strings[0] = create(context, hot_mib);
    for (int i = 1; i <= COLD_STRINGS; i++)
        strings[i] = create(context, (mib - hot_mib) / COLD_STRINGS);
    printf("running: %zu MiB, %zu of them hot\n", mib, hot_mib);

    double start = seconds(), last = start, reported = start, longest = 0;
    uint64_t done = 0;
    while (!stopped && (!steps || done < steps) && (limit <= 0 || last - start < limit)) {
        step(&strings[0], queue, kernel);
        if (cold_every && done % cold_every == 0)
            step(&strings[1 + done / cold_every % COLD_STRINGS], queue, kernel);
        check(clFinish(queue), "clFinish");
        done++;

        double now = seconds();
        longest = now - last > longest ? now - last : longest;
        last = now;
        if (now - reported >= 1) {
            printf("step %" PRIu64 " after %.1f s\n", done, now - start);
            reported = now;
        }
        if (pause > 0) {
            struct timespec t = {.tv_sec = (time_t)pause, .tv_nsec = (long)((pause - (double)(time_t)pause) * 1e9)};
            nanosleep(&t, NULL);
        }
    }

    size_t wrong = 0;
    uint64_t digest = 14695981039346656037u;
    for (int i = 0; i <= COLD_STRINGS; i++) {
        step(&strings[i], queue, kernel);
        wrong += verify(&strings[i], i, queue, &digest);
    }
    printf("%" PRIu64 " steps, the longest took %.3f s\n", done, longest);
    for (int i = 0; i <= COLD_STRINGS; i++)
        for (int t = 0; t < 2; t++)
            check(clReleaseMemObject(strings[i].buffer[t]), "clReleaseMemObject");
    check(clReleaseKernel(kernel), "clReleaseKernel");
    check(clReleaseCommandQueue(queue), "clReleaseCommandQueue");
    check(clReleaseContext(context), "clReleaseContext");

    if (wrong) {
        printf("PROGRAM FAILED %zu words wrong\n", wrong);
        return 1;
    }
    printf("PROGRAM OK %016" PRIx64 "\n", digest);
    return 0;
}
