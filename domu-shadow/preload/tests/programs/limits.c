/* Computes while the process may not have more than it has: limits nofile|as ROOM, with room for so many more descriptors, or
 * so many MiB more of address space. Prints "right" if the result is. */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ITEMS = 1 << 15, ROUNDS = 60, CALLS = 8 };

#define MUST(call) do { cl_int must = (call); if (must) { \
        fprintf(stderr, "limits: %s: %d\n", #call, must); exit(2); } } while (0)

static const char *source =
    "kernel void turn(global int *a, int by) { int i = get_global_id(0); a[i] = a[i] * 3 + by; }";

static void may_have(const char *what, long room)
{
    int files = !strcmp(what, "nofile");
    struct rlimit limit;
    long pages = 0;
    FILE *sizes = fopen("/proc/self/statm", "r");

    if (!sizes || fscanf(sizes, "%ld", &pages) != 1)
        exit(2);
    fclose(sizes);
    getrlimit(files ? RLIMIT_NOFILE : RLIMIT_AS, &limit);
    limit.rlim_cur = (pages << 12) + (room << 20);
    if (files) {
        /* The lowest numbers are all in use then. */
        int last = dup(0);
        for (int n = 0; n < 40; n++)
            last = dup(0);
        limit.rlim_cur = last + 1 + room;
    }
    if (setrlimit(files ? RLIMIT_NOFILE : RLIMIT_AS, &limit))
        exit(2);
}

int main(int count, char **words)
{
    static int wanted[ITEMS], got[ITEMS];
    size_t items = ITEMS;
    cl_platform_id platform;
    cl_device_id device;
    cl_int code;

    if (count != 3)
        return 2;
    MUST(clGetPlatformIDs(1, &platform, NULL));
    MUST(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL));
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    MUST(code);
    cl_command_queue queue = clCreateCommandQueueWithProperties(context, device, NULL, &code);
    MUST(code);
    cl_program program = clCreateProgramWithSource(context, 1, &source, NULL, &code);
    MUST(code);
    MUST(clBuildProgram(program, 0, NULL, NULL, NULL, NULL));
    cl_kernel kernel = clCreateKernel(program, "turn", &code);
    MUST(code);
    cl_mem buffer = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, sizeof wanted, wanted, &code);
    MUST(code);
    MUST(clSetKernelArg(kernel, 0, sizeof buffer, &buffer));
    for (int by = 0; by < ROUNDS; by++) {
        MUST(clSetKernelArg(kernel, 1, sizeof by, &by));
        MUST(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, NULL, 0, NULL, NULL));
        MUST(clFinish(queue));
        /* The kernel is compiled, and the drivers' threads run. */
        if (by == 0)
            may_have(words[1], atol(words[2]));
        for (int i = 0; i < ITEMS; i++)
            wanted[i] = (int)(wanted[i] * 3u + by);
        for (int n = 0; n < CALLS; n++) {
            cl_uint units;
            MUST(clGetDeviceInfo(device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL));
        }
    }
    MUST(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof got, got, 0, NULL, NULL));
    puts(memcmp(got, wanted, sizeof got) ? "wrong" : "right");
    MUST(clReleaseMemObject(buffer));
    MUST(clReleaseKernel(kernel));
    MUST(clReleaseProgram(program));
    MUST(clReleaseCommandQueue(queue));
    MUST(clReleaseContext(context));
    return 0;
}
