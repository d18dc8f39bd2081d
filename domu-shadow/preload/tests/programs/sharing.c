/* Uses one extension whose objects belong to the driver, named by the first argument, and prints the codes, answers and contents:
 * two OpenCL libraries over the same driver can be compared. */
#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WORDS = 256, BYTES = WORDS * 4 };

#define MUST(call) do { cl_int must = (call); if (must) { \
        fprintf(stderr, "sharing: %s: %d\n", #call, must); exit(2); } } while (0)

static cl_platform_id platform;
static cl_device_id device;
static cl_context context;
static cl_command_queue queue;
static cl_program program;

static void *find(const char *name)
{
    void *function = clGetExtensionFunctionAddressForPlatform(platform, name);
    if (!function) {
        fprintf(stderr, "sharing: no %s\n", name);
        exit(2);
    }
    return function;
}

#define FUNCTION(result, name, ...) result (*name)(__VA_ARGS__) = (result (*)(__VA_ARGS__))find(#name)
#define END cl_uint, const cl_event *, cl_event *

static cl_uint sum_of(const cl_uint *words)
{
    cl_uint sum = 0;
    for (int at = 0; at < WORDS; at++)
        sum = sum * 31 + words[at];
    return sum;
}

static void run(cl_kernel kernel)
{
    size_t global = WORDS;
    MUST(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, NULL, 0, NULL, NULL));
    MUST(clFinish(queue));
}

static cl_kernel increase(cl_uint by)
{
    cl_int code;
    cl_kernel kernel = clCreateKernel(program, "increase", &code);
    MUST(code);
    MUST(clSetKernelArg(kernel, 1, sizeof by, &by));
    return kernel;
}

static void show_event(const char *what, cl_event event)
{
    cl_int type = 0, status = 1;
    MUST(clWaitForEvents(1, &event));
    MUST(clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, sizeof type, &type, NULL));
    MUST(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL));
    printf("%s: type %#x, status %d\n", what, type, status);
    MUST(clReleaseEvent(event));
}

static void unified(void)
{
    FUNCTION(void *, clHostMemAllocINTEL, cl_context, const cl_ulong *, size_t, cl_uint, cl_int *);
    FUNCTION(void *, clDeviceMemAllocINTEL, cl_context, cl_device_id, const cl_ulong *, size_t, cl_uint, cl_int *);
    FUNCTION(void *, clSharedMemAllocINTEL, cl_context, cl_device_id, const cl_ulong *, size_t, cl_uint, cl_int *);
    FUNCTION(cl_int, clMemFreeINTEL, cl_context, void *);
    FUNCTION(cl_int, clMemBlockingFreeINTEL, cl_context, void *);
    FUNCTION(cl_int, clGetMemAllocInfoINTEL, cl_context, const void *, cl_uint, size_t, void *, size_t *);
    FUNCTION(cl_int, clSetKernelArgMemPointerINTEL, cl_kernel, cl_uint, const void *);
    FUNCTION(cl_int, clEnqueueMemFillINTEL, cl_command_queue, void *, const void *, size_t, size_t, END);
    FUNCTION(cl_int, clEnqueueMemcpyINTEL, cl_command_queue, cl_bool, void *, const void *, size_t, END);
    FUNCTION(cl_int, clEnqueueMigrateMemINTEL, cl_command_queue, const void *, size_t, cl_ulong, END);
    FUNCTION(cl_int, clEnqueueMemAdviseINTEL, cl_command_queue, const void *, size_t, cl_uint, END);
    cl_int code;
    cl_uint words[WORDS], pattern = 0x01020304;
    cl_event event;
    cl_uint *host = clHostMemAllocINTEL(context, NULL, BYTES, 0, &code);
    MUST(code);
    void *on_device = clDeviceMemAllocINTEL(context, device, NULL, BYTES, 0, &code);
    MUST(code);
    cl_uint *shared = clSharedMemAllocINTEL(context, device, NULL, BYTES, 0, &code);
    MUST(code);
    void *all[4] = { host, on_device, shared, words };
    for (int i = 0; i < 4; i++)
        for (cl_uint param = 0x419a; param <= 0x419d; param++) {
            void *value = NULL;
            size_t size = 0;
            code = clGetMemAllocInfoINTEL(context, all[i], param, sizeof value, &value, &size);
            printf("allocation %d, info %#x: %d, %zu bytes:", i, param, code, size);
            if (value == device)
                printf(" the device\n");
            else if (value == all[i])
                printf(" itself\n");
            else
                printf(" %zu\n", (size_t)value);
        }
    MUST(clEnqueueMemFillINTEL(queue, on_device, &pattern, 4, BYTES, 0, NULL, &event));
    show_event("fill", event);
    MUST(clEnqueueMemcpyINTEL(queue, CL_TRUE, shared, on_device, BYTES, 0, NULL, &event));
    show_event("copy", event);
    MUST(clEnqueueMigrateMemINTEL(queue, shared, BYTES, CL_MIGRATE_MEM_OBJECT_HOST, 0, NULL, &event));
    show_event("migrate", event);
    /* What advice there is is up to the driver. */
    code = clEnqueueMemAdviseINTEL(queue, shared, BYTES, 0, 0, NULL, &event);
    printf("advise: %d\n", code);
    if (!code)
        show_event("advise", event);
    cl_kernel kernel = increase(3);
    MUST(clSetKernelArgMemPointerINTEL(kernel, 0, shared));
    run(kernel);
    memcpy(host, shared, BYTES);
    MUST(clEnqueueMemcpyINTEL(queue, CL_TRUE, words, host, BYTES, 0, NULL, NULL));
    printf("contents %08x\n", sum_of(words));
    MUST(clReleaseKernel(kernel));
    MUST(clMemFreeINTEL(context, host));
    MUST(clMemBlockingFreeINTEL(context, on_device));
    MUST(clMemBlockingFreeINTEL(context, shared));
    clSharedMemAllocINTEL(context, device, NULL, 0, 0, &code);
    printf("no size: %d\n", code);
}

static void addresses(void)
{
    FUNCTION(cl_int, clSetKernelArgDevicePointerEXT, cl_kernel, cl_uint, cl_ulong);
    const cl_mem_properties properties[] = { 0x5000, CL_TRUE, 0 };
    cl_mem_properties given[8] = { 0 };
    cl_uint words[WORDS] = { 0 };
    cl_ulong address = 0;
    size_t size = 0;
    cl_int code;
    cl_mem buffer = clCreateBufferWithProperties(context, properties, CL_MEM_READ_WRITE, BYTES, NULL, &code);
    MUST(code);
    MUST(clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, BYTES, words, 0, NULL, NULL));
    code = clGetMemObjectInfo(buffer, 0x5001, sizeof address, &address, &size);
    printf("address: %d, %zu bytes, %s\n", code, size, address ? "some" : "none");
    code = clGetMemObjectInfo(buffer, CL_MEM_PROPERTIES, sizeof given, given, &size);
    printf("properties: %d, %zu bytes: %#lx %lu %lu\n", code, size, (long)given[0], (long)given[1], (long)given[2]);
    cl_kernel kernel = increase(5);
    MUST(clSetKernelArgDevicePointerEXT(kernel, 0, address));
    run(kernel);
    MUST(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, BYTES, words, 0, NULL, NULL));
    printf("contents %08x\n", sum_of(words));
    MUST(clReleaseKernel(kernel));
    MUST(clReleaseMemObject(buffer));
    const cl_mem_properties unknown[] = { 0x7777, 1, 0 };
    clCreateBufferWithProperties(context, unknown, 0, BYTES, NULL, &code);
    printf("unknown property: %d\n", code);
}

static void semaphores(void)
{
    typedef void *S;
    FUNCTION(S, clCreateSemaphoreWithPropertiesKHR, cl_context, const cl_ulong *, cl_int *);
    FUNCTION(cl_int, clRetainSemaphoreKHR, S);
    FUNCTION(cl_int, clReleaseSemaphoreKHR, S);
    FUNCTION(cl_int, clGetSemaphoreInfoKHR, S, cl_uint, size_t, void *, size_t *);
    FUNCTION(cl_int, clEnqueueWaitSemaphoresKHR, cl_command_queue, cl_uint, const S *, const cl_ulong *, END);
    FUNCTION(cl_int, clEnqueueSignalSemaphoresKHR, cl_command_queue, cl_uint, const S *, const cl_ulong *, END);
    FUNCTION(cl_int, clGetSemaphoreHandleForTypeKHR, S, cl_device_id, cl_uint, size_t, void *, size_t *);
    const cl_ulong properties[] = { 0x203d, 1, 0x2053, (cl_ulong)device, 0, 0x203f, 0x2055, 0, 0 };
    cl_int code, file = -1;
    cl_event event;
    size_t size = 0;
    S one = clCreateSemaphoreWithPropertiesKHR(context, properties, &code);
    MUST(code);
    MUST(clRetainSemaphoreKHR(one));
    for (cl_uint param = 0x2039; param <= 0x2053; param += param == 0x203d ? 0x16 : 1) {
        cl_ulong values[16] = { 0 };
        code = clGetSemaphoreInfoKHR(one, param, sizeof values, values, &size);
        printf("info %#x: %d, %zu bytes:", param, code, size);
        for (size_t at = 0; !code && at < (size + 7) / 8; at++)
            if (values[at] == (cl_ulong)device)
                printf(" the device");
            else if (values[at] == (cl_ulong)context)
                printf(" the context");
            else
                printf(" %lu", (long)values[at]);
        putchar('\n');
    }
    code = clGetSemaphoreHandleForTypeKHR(one, device, 0x2055, sizeof file, &file, &size);
    printf("handle: %d, %zu bytes, %s\n", code, size, file >= 0 ? "some" : "none");
    const cl_ulong imported[] = { 0x203d, 1, 0x2055, (cl_ulong)file, 0 };
    S two = clCreateSemaphoreWithPropertiesKHR(context, imported, &code);
    MUST(code);
    MUST(clEnqueueSignalSemaphoresKHR(queue, 1, &one, NULL, 0, NULL, &event));
    show_event("signal", event);
    MUST(clEnqueueWaitSemaphoresKHR(queue, 1, &two, NULL, 0, NULL, &event));
    MUST(clFlush(queue));
    show_event("wait", event);
    printf("no semaphore: %d\n", clEnqueueWaitSemaphoresKHR(queue, 0, NULL, NULL, 0, NULL, NULL));
    MUST(clReleaseSemaphoreKHR(one));
    MUST(clReleaseSemaphoreKHR(one));
    MUST(clReleaseSemaphoreKHR(two));
}

static void memory(void)
{
    FUNCTION(cl_int, clEnqueueAcquireExternalMemObjectsKHR, cl_command_queue, cl_uint, const cl_mem *, END);
    FUNCTION(cl_int, clEnqueueReleaseExternalMemObjectsKHR, cl_command_queue, cl_uint, const cl_mem *, END);
    int file = memfd_create("sharing", 0);
    if (file < 0 || ftruncate(file, BYTES))
        exit(3);
    cl_uint *words = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    for (int at = 0; at < WORDS; at++)
        words[at] = at;
    const cl_mem_properties properties[] = { 0x2060, (cl_mem_properties)file, 0 };
    cl_int code;
    cl_event event;
    cl_mem buffer = clCreateBufferWithProperties(context, properties, CL_MEM_READ_WRITE, BYTES, NULL, &code);
    MUST(code);
    MUST(clEnqueueAcquireExternalMemObjectsKHR(queue, 1, &buffer, 0, NULL, &event));
    show_event("acquire", event);
    cl_kernel kernel = increase(7);
    MUST(clSetKernelArg(kernel, 0, sizeof buffer, &buffer));
    run(kernel);
    MUST(clEnqueueReleaseExternalMemObjectsKHR(queue, 1, &buffer, 0, NULL, &event));
    show_event("release", event);
    printf("contents %08x\n", sum_of(words));
    MUST(clReleaseKernel(kernel));
    MUST(clReleaseMemObject(buffer));
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*use)(void); } parts[] = {
        { "unified", unified }, { "addresses", addresses }, { "semaphores", semaphores }, { "memory", memory },
    };
    cl_int code;
    MUST(clGetPlatformIDs(1, &platform, NULL));
    MUST(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL));
    char extensions[4096] = "";
    MUST(clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, sizeof extensions, extensions, NULL));
    printf("%s\n", extensions);
    context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    MUST(code);
    queue = clCreateCommandQueue(context, device, 0, &code);
    MUST(code);
    const char *source = "__kernel void increase(__global uint *a, const uint value) { a[get_global_id(0)] += value; }\n";
    program = clCreateProgramWithSource(context, 1, &source, NULL, &code);
    MUST(code);
    MUST(clBuildProgram(program, 0, NULL, NULL, NULL, NULL));
    for (size_t i = 0; argc > 1 && i < sizeof parts / sizeof parts[0]; i++)
        if (!strcmp(parts[i].name, argv[1]))
            parts[i].use();
    MUST(clReleaseProgram(program));
    MUST(clFinish(queue));
    MUST(clReleaseCommandQueue(queue));
    MUST(clReleaseContext(context));
    return 0;
}
