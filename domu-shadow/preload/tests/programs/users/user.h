/* What the users' programs share: a device with a context and a queue, and checks that say where they failed. What a program prints
   is its result. */
#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAIL(...)                                        \
    do {                                                 \
        printf("FAILED %s:%d: ", __FILE__, __LINE__);    \
        printf(__VA_ARGS__);                             \
        printf("\n");                                    \
        fflush(stdout);                                  \
        _exit(1);                                        \
    } while (0)
#define CHECK(condition)                          \
    do {                                          \
        if (!(condition)) FAIL("%s", #condition); \
    } while (0)
#define OK(call)                                                   \
    do {                                                           \
        cl_int code_ = (call);                                     \
        if (code_ != CL_SUCCESS) FAIL("%s is %d", #call, code_);   \
    } while (0)
/* An object, of a call without its last parameter. */
#define MAKE(function, ...)                                               \
    ({                                                                    \
        cl_int code_ = -1;                                                \
        __auto_type object_ = function(__VA_ARGS__, &code_);              \
        if (code_ != CL_SUCCESS) FAIL("%s is %d", #function, code_);      \
        object_;                                                          \
    })

static cl_platform_id platform;
static cl_device_id device;
static cl_context context;
static cl_command_queue queue;

__attribute__((unused)) static void open_device(void) {
    OK(clGetPlatformIDs(1, &platform, NULL));
    OK(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL));
    context = MAKE(clCreateContext, NULL, 1, &device, NULL, NULL);
    queue = MAKE(clCreateCommandQueueWithProperties, context, device, NULL);
}

/* The kernel of `a[i] = a[i] * 3 + by`. */
__attribute__((unused)) static cl_kernel advance_kernel(void) {
    const char *source = "kernel void advance(global uint *a, uint by) { a[get_global_id(0)] = a[get_global_id(0)] * 3 + by; }";
    cl_program program = MAKE(clCreateProgramWithSource, context, 1, &source, NULL);
    OK(clBuildProgram(program, 1, &device, "", NULL, NULL));
    cl_kernel kernel = MAKE(clCreateKernel, program, "advance");
    OK(clReleaseProgram(program));
    return kernel;
}

__attribute__((unused)) static void run(cl_command_queue on, cl_kernel kernel, cl_mem buffer, cl_uint by, size_t items) {
    OK(clSetKernelArg(kernel, 0, sizeof buffer, &buffer));
    OK(clSetKernelArg(kernel, 1, sizeof by, &by));
    OK(clEnqueueNDRangeKernel(on, kernel, 1, NULL, &items, NULL, 0, NULL, NULL));
}

__attribute__((unused)) static void fill(cl_uint *words, size_t number, cl_uint seed) {
    for (size_t i = 0; i < number; i++) words[i] = seed * 2654435761u + (cl_uint)i;
}

/* Calls that do nothing: a storm by calls moves the program in them. */
__attribute__((unused)) static void pass_time(int calls) {
    cl_uint units;
    while (calls-- > 0) OK(clGetDeviceInfo(device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL));
}
