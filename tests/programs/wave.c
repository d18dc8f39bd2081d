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
 * One string is "hot" and steps all the time; the others step once in a while, and all once more at the end. Of their memory one word
 * in N is a point (all, if not said otherwise); the rest stays as it is.
 *
 *     wave [--mib TOTAL] [--hot MIB] [--one-in N] [--steps N | --seconds S] [--pause-ms N] [--cold-every N]
 *
 * Without --steps or --seconds it runs until SIGTERM. Then it checks every word on the CPU and prints
 * "PROGRAM OK <digest>", or "PROGRAM FAILED ..." with exit status 1. Any failing OpenCL call ends it with status 2.
 */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include "wave.h"

static const char *const SOURCE =
    "__kernel void wave_step(__global const uint *now, __global uint *before)\n"
    "{\n"
    "    const size_t i = get_global_id(0), n = get_global_size(0);\n"
    "    before[i] = now[i ? i - 1 : n - 1] + now[i + 1 < n ? i + 1 : 0] - before[i];\n"
    "}\n";

struct string {
    size_t words, points;
    uint64_t time;    /* the buffer [time % 2] holds u(time), the other one u(time - 1) */
    cl_mem buffer[2];
};

static void check(cl_int error, const char *call)
{
    if (error != CL_SUCCESS) {
        printf("PROGRAM FAILED %s: error %d\n", call, error);
        exit(2);
    }
}

static struct string create(cl_context context, size_t mib, size_t one_in)
{
    size_t words = (mib << 20) / 2 / sizeof(uint32_t);
    struct string s = {.words = words, .points = words / one_in, .time = 1};
    uint32_t *u = malloc(words * sizeof *u);
    for (int t = 0; t < 2; t++) {
        cl_int error;
        state(u, words, s.points, (uint64_t)t);
        s.buffer[t] = clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, words * sizeof *u, u, &error);
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

static size_t verify(const struct string *s, int number, cl_command_queue queue, uint64_t *digest)
{
    size_t wrong = 0, bytes = s->words * sizeof(uint32_t);
    uint32_t *got = malloc(bytes);
    for (int back = 0; back < 2; back++) {
        uint64_t t = s->time - (uint64_t)back;
        check(clEnqueueReadBuffer(queue, s->buffer[t % 2], CL_TRUE, 0, bytes, got, 0, NULL, NULL), "clEnqueueReadBuffer");
        wrong += wrong_words(got, s->words, s->points, t, number, digest);
    }
    free(got);
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
    struct wave wave = wave_asked(argc, argv);
    cl_int error;
    cl_platform_id platform;
    cl_device_id dev = device(&platform);
    cl_context context = clCreateContext(NULL, 1, &dev, NULL, NULL, &error);
    check(error, "clCreateContext");
    cl_command_queue queue = clCreateCommandQueue(context, dev, 0, &error);
    check(error, "clCreateCommandQueue");
    cl_kernel kernel = build(context, dev);

    struct string strings[1 + COLD_STRINGS];
    strings[0] = create(context, wave.hot_mib, wave.one_in);
    for (int i = 1; i <= COLD_STRINGS; i++)
        strings[i] = create(context, (wave.mib - wave.hot_mib) / COLD_STRINGS, wave.one_in);
    wave_begins(&wave);
    while (wave_goes_on(&wave)) {
        int cold = cold_string(&wave);
        step(&strings[0], queue, kernel);
        if (cold >= 0) step(&strings[1 + cold], queue, kernel);
        check(clFinish(queue), "clFinish");
        stepped(&wave);
    }

    size_t wrong = 0;
    uint64_t digest = NO_DIGEST;
    for (int i = 0; i <= COLD_STRINGS; i++) {
        step(&strings[i], queue, kernel);
        wrong += verify(&strings[i], i, queue, &digest);
    }
    printf("%" PRIu64 " steps, the longest took %.3f s\n", wave.done, wave.longest);
    for (int i = 0; i <= COLD_STRINGS; i++)
        for (int t = 0; t < 2; t++)
            check(clReleaseMemObject(strings[i].buffer[t]), "clReleaseMemObject");
    check(clReleaseKernel(kernel), "clReleaseKernel");
    check(clReleaseCommandQueue(queue), "clReleaseCommandQueue");
    check(clReleaseContext(context), "clReleaseContext");
    return wave_verdict(wrong, digest);
}
