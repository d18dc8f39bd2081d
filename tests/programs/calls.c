/*
 * calls: what one OpenCL call costs through two OpenCL libraries, measured side by side in one process.
 *
 *     calls PLAIN.so OTHER.so [--rounds N] [--user-event] [--json]
 *
 * Both libraries are opened by path and use the same device of the same driver, the first one that is found, each with
 * objects of its own. A round measures every call through one library and at once through the other, in alternating
 * order; printed are the medians over all rounds, in ns per call, and the difference. The functions of the kernel's
 * and the queue's hot path come first. --user-event: the program has made one, and set it, before. Exit status: 0, or 2 with the failing call's name.
 */
#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FUNCTIONS(X)                                                                                                   \
    X(clGetPlatformIDs) X(clGetDeviceIDs) X(clGetDeviceInfo) X(clCreateContext) X(clCreateCommandQueue)                \
    X(clCreateBuffer) X(clReleaseMemObject) X(clRetainMemObject) X(clCreateProgramWithSource) X(clBuildProgram)        \
    X(clCreateKernel) X(clSetKernelArg) X(clGetKernelWorkGroupInfo) X(clEnqueueNDRangeKernel) X(clFinish) X(clFlush)   \
    X(clEnqueueWriteBuffer) X(clEnqueueReadBuffer) X(clGetEventInfo) X(clReleaseEvent) X(clGetMemObjectInfo)              \
    X(clCreateUserEvent) X(clSetUserEventStatus)

struct library {
#define MEMBER(name) __typeof__(&name) name;
    FUNCTIONS(MEMBER)
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    cl_mem buffer;
    cl_kernel kernel;
    cl_event event;
};

static void check(cl_int error, const char *call)
{
    if (error != CL_SUCCESS) {
        fprintf(stderr, "calls: %s: error %d\n", call, error);
        exit(2);
    }
}

static void open_library(struct library *l, const char *path)
{
    cl_platform_id platforms[16];
    cl_uint count = 0;
    cl_int error = CL_DEVICE_NOT_FOUND;
    const char *source = "__kernel void touch(__global uint *data, uint value) { data[get_global_id(0)] = value; }\n";
    void *file = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!file) {
        fprintf(stderr, "calls: %s\n", dlerror());
        exit(2);
    }
#define FIND(name)                                                                                                     \
    if (!(l->name = (__typeof__(&name))dlsym(file, #name))) {                                                          \
        fprintf(stderr, "calls: %s has no %s\n", path, #name);                                                         \
        exit(2);                                                                                                       \
    }
    FUNCTIONS(FIND)
    check(l->clGetPlatformIDs(16, platforms, &count), "clGetPlatformIDs");
    for (cl_uint i = 0; error != CL_SUCCESS && i < count && i < 16; i++)
        error = l->clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 1, &l->device, NULL);
    check(error, "clGetDeviceIDs");
    l->context = l->clCreateContext(NULL, 1, &l->device, NULL, NULL, &error);
    check(error, "clCreateContext");
    l->queue = l->clCreateCommandQueue(l->context, l->device, 0, &error);
    check(error, "clCreateCommandQueue");
    l->buffer = l->clCreateBuffer(l->context, CL_MEM_READ_WRITE, 4096, NULL, &error);
    check(error, "clCreateBuffer");
    cl_program program = l->clCreateProgramWithSource(l->context, 1, &source, NULL, &error);
    check(error, "clCreateProgramWithSource");
    check(l->clBuildProgram(program, 1, &l->device, "", NULL, NULL), "clBuildProgram");
    l->kernel = l->clCreateKernel(program, "touch", &error);
    check(error, "clCreateKernel");
    cl_uint value = 7;
    check(l->clSetKernelArg(l->kernel, 0, sizeof l->buffer, &l->buffer), "clSetKernelArg");
    check(l->clSetKernelArg(l->kernel, 1, sizeof value, &value), "clSetKernelArg");
    check(l->clEnqueueWriteBuffer(l->queue, l->buffer, CL_TRUE, 0, sizeof value, &value, 0, NULL, &l->event),
          "clEnqueueWriteBuffer");
}

static void make_user_event(struct library *l)
{
    cl_int error;
    cl_event event = l->clCreateUserEvent(l->context, &error);
    check(error, "clCreateUserEvent");
    check(l->clSetUserEventStatus(event, CL_COMPLETE), "clSetUserEventStatus");
    check(l->clReleaseEvent(event), "clReleaseEvent");
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static cl_uint word;
static const size_t ONE = 1;

static void set_buffer(struct library *l) { check(l->clSetKernelArg(l->kernel, 0, sizeof l->buffer, &l->buffer), "clSetKernelArg"); }
static void set_scalar(struct library *l) { check(l->clSetKernelArg(l->kernel, 1, sizeof word, &word), "clSetKernelArg"); }
static void enqueue(struct library *l)
{
    check(l->clEnqueueNDRangeKernel(l->queue, l->kernel, 1, NULL, &ONE, &ONE, 0, NULL, NULL), "clEnqueueNDRangeKernel");
}
static void enqueue_event(struct library *l)
{
    cl_event event;
    check(l->clEnqueueNDRangeKernel(l->queue, l->kernel, 1, NULL, &ONE, &ONE, 0, NULL, &event), "clEnqueueNDRangeKernel");
    check(l->clReleaseEvent(event), "clReleaseEvent");
}
static void write_word(struct library *l)
{
    check(l->clEnqueueWriteBuffer(l->queue, l->buffer, CL_FALSE, 0, sizeof word, &word, 0, NULL, NULL), "clEnqueueWriteBuffer");
}
static void read_word(struct library *l)
{
    cl_uint to;
    check(l->clEnqueueReadBuffer(l->queue, l->buffer, CL_TRUE, 0, sizeof to, &to, 0, NULL, NULL), "clEnqueueReadBuffer");
}
static void flush(struct library *l) { check(l->clFlush(l->queue), "clFlush"); }
static void finish(struct library *l) { check(l->clFinish(l->queue), "clFinish"); }
static void retain(struct library *l)
{
    check(l->clRetainMemObject(l->buffer), "clRetainMemObject");
    check(l->clReleaseMemObject(l->buffer), "clReleaseMemObject");
}
static void create(struct library *l)
{
    cl_int error;
    cl_mem made = l->clCreateBuffer(l->context, CL_MEM_READ_WRITE, 4096, NULL, &error);
    check(error, "clCreateBuffer");
    check(l->clReleaseMemObject(made), "clReleaseMemObject");
}
static void status(struct library *l)
{
    cl_int value;
    check(l->clGetEventInfo(l->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof value, &value, NULL), "clGetEventInfo");
}
static void device_info(struct library *l)
{
    cl_uint value;
    check(l->clGetDeviceInfo(l->device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof value, &value, NULL), "clGetDeviceInfo");
}

static const struct {
    const char *name;
    void (*call)(struct library *);
    int times; /* a round; few enough that no queue of commands fills up */
} CALLS[] = {
    {"clSetKernelArg(buffer)", set_buffer, 20000},
    {"clSetKernelArg(scalar)", set_scalar, 20000},
    {"clEnqueueNDRangeKernel", enqueue, 400},
    {"clEnqueueNDRangeKernel+event", enqueue_event, 400},
    {"clEnqueueWriteBuffer(4 B)", write_word, 400},
    {"clEnqueueReadBuffer(4 B, blocking)", read_word, 200},
    {"clFlush(idle)", flush, 2000},
    {"clFinish(idle)", finish, 2000},
    {"clRetain+ReleaseMemObject", retain, 10000},
    {"clCreateBuffer+Release(4 KiB)", create, 200},
    {"clGetEventInfo(status)", status, 10000},
    {"clGetDeviceInfo", device_info, 5000},
};
#define KINDS (sizeof CALLS / sizeof CALLS[0])

static double measure(struct library *l, size_t kind)
{
    const int times = CALLS[kind].times;
    check(l->clFinish(l->queue), "clFinish");
    const double start = now();
    for (int i = 0; i < times; i++)
        CALLS[kind].call(l);
    const double took = now() - start;
    check(l->clFinish(l->queue), "clFinish");
    return took / times;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, ascending);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

int main(int argc, char **argv)
{
    int rounds = 201, json = 0, user_event = 0;
    static struct library libraries[2];
    if (argc < 3) {
        fprintf(stderr, "usage: calls PLAIN.so OTHER.so [--rounds N] [--user-event] [--json]\n");
        return 2;
    }
    for (int i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "--json"))
            json = 1;
        else if (!strcmp(argv[i], "--user-event"))
            user_event = 1;
        else if (!strcmp(argv[i], "--rounds") && i + 1 < argc && atoi(argv[i + 1]) > 0)
            rounds = atoi(argv[++i]);
        else {
            fprintf(stderr, "calls: unknown argument %s\n", argv[i]);
            return 2;
        }
    }
    open_library(&libraries[0], argv[1]);
    open_library(&libraries[1], argv[2]);
    for (int l = 0; user_event && l < 2; l++)
        make_user_event(&libraries[l]);
    double *figures[2][KINDS];
    for (size_t kind = 0; kind < KINDS; kind++)
        for (int l = 0; l < 2; l++)
            if (!(figures[l][kind] = malloc(sizeof(double) * (size_t)rounds)))
                check(CL_OUT_OF_HOST_MEMORY, "malloc");
    for (int round = -3; round < rounds; round++) /* the first ones warm up */
        for (size_t kind = 0; kind < KINDS; kind++)
            for (int turn = 0; turn < 2; turn++) {
                const int l = (round & 1) ^ turn;
                const double took = measure(&libraries[l], kind);
                if (round >= 0)
                    figures[l][kind][round] = took;
            }
    printf(json ? "[" : "%-36s %12s %12s %10s %8s\n", "call (medians, ns)", "plain", "other", "more ns", "%");
    for (size_t kind = 0; kind < KINDS; kind++) {
        const double plain = median(figures[0][kind], rounds), other = median(figures[1][kind], rounds);
        if (json)
            printf("%s{\"call\":\"%s\",\"plain_ns\":%.1f,\"other_ns\":%.1f}", kind ? "," : "", CALLS[kind].name, plain, other);
        else
            printf("%-36s %12.1f %12.1f %10.1f %8.2f\n", CALLS[kind].name, plain, other, other - plain,
                   100 * (other - plain) / plain);
    }
    if (json)
        printf("]\n");
    return 0;
}
