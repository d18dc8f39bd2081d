/* Makes one object of each kind, asks all there is to ask, and prints it: without addresses and times, so that two
 * OpenCL libraries over the same driver can be compared. */
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct { const void *handle; const char *name; } names[32];
static int named;

static void *name(void *handle, const char *text)
{
    names[named].handle = handle;
    names[named++].name = text;
    return handle;
}

/* An answer: eight bytes that are a known handle by its name, all else as hexadecimal numbers. */
static void show(const char *what, cl_uint parameter, cl_int code, const unsigned char *bytes, size_t size)
{
    printf("%s %#x: %d, %zu bytes:", what, parameter, code, code ? 0 : size);
    /* "Considered immediately stale": drivers count references of their own in. */
    if (parameter == CL_CONTEXT_REFERENCE_COUNT || parameter == CL_MEM_REFERENCE_COUNT
        || parameter == CL_PROGRAM_REFERENCE_COUNT)
        size = 0;
    for (size_t at = 0; !code && at < size; at += 8) {
        void *handle = NULL;
        const char *known = NULL;
        if (size % 8 == 0) {
            memcpy(&handle, bytes + at, 8);
            for (int i = 0; handle && i < named; i++)
                if (names[i].handle == handle)
                    known = names[i].name;
        }
        putchar(' ');
        if (known)
            printf("%s", known);
        else
            for (size_t i = at; i < at + 8 && i < size; i++)
                printf("%02x", bytes[i]);
    }
    putchar('\n');
}

#define ASK(what, first, last, call) do { \
        for (cl_uint param = first; param <= last; param++) { \
            static unsigned char value[1 << 16]; \
            size_t size = sizeof value, got = 0; \
            memset(value, 0, sizeof value); \
            cl_int code = call; \
            show(what, param, code, value, got); \
        } \
    } while (0)

#define MUST(call) do { cl_int must = (call); if (must) { \
        fprintf(stderr, "queries: %s: %d\n", #call, must); exit(2); } } while (0)

static const char *const source =
    "__kernel void tell(__global const int *restrict a, volatile __global float *b, int2 c, __local char *d,\n"
    "                   read_only image2d_t e, sampler_t f, __constant int *g) { b[0] = a[0] + g[0]; }\n"
    "__kernel __attribute__((reqd_work_group_size(4, 2, 1))) void print(int n) {\n"
    "    if (get_global_id(0) == 0 && get_global_id(1) == 0) printf(\"the kernel says %d\\n\", n); }\n";

static void kernel_info(cl_kernel kernel, cl_device_id device, cl_uint args)
{
    ASK("kernel", CL_KERNEL_FUNCTION_NAME, CL_KERNEL_ATTRIBUTES, clGetKernelInfo(kernel, param, size, value, &got));
    ASK("work-group", CL_KERNEL_WORK_GROUP_SIZE, CL_KERNEL_GLOBAL_WORK_SIZE,
        clGetKernelWorkGroupInfo(kernel, device, param, size, value, &got));
    for (cl_uint at = 0; at < args; at++)
        ASK("argument", CL_KERNEL_ARG_ADDRESS_QUALIFIER, CL_KERNEL_ARG_NAME,
            clGetKernelArgInfo(kernel, at, param, size, value, &got));
}

static void program_info(cl_program program, cl_device_id device)
{
    ASK("program", CL_PROGRAM_REFERENCE_COUNT, CL_PROGRAM_SOURCE,
        clGetProgramInfo(program, param, size, value, &got));
    ASK("program", CL_PROGRAM_NUM_KERNELS, CL_PROGRAM_SCOPE_GLOBAL_DTORS_PRESENT,
        clGetProgramInfo(program, param, size, value, &got));
    ASK("build", CL_PROGRAM_BUILD_STATUS, CL_PROGRAM_BUILD_OPTIONS,
        clGetProgramBuildInfo(program, device, param, size, value, &got));
    ASK("build", CL_PROGRAM_BINARY_TYPE, CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE,
        clGetProgramBuildInfo(program, device, param, size, value, &got));
}

int main(void)
{
    cl_platform_id platform;
    cl_device_id device;
    cl_int code;
    MUST(clGetPlatformIDs(1, &platform, NULL));
    MUST(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL));
    name(platform, "platform");
    name(device, "device");
    ASK("device", CL_DEVICE_PLATFORM, CL_DEVICE_PLATFORM, clGetDeviceInfo(device, param, size, value, &got));
    ASK("device", CL_DEVICE_PARENT_DEVICE, CL_DEVICE_REFERENCE_COUNT, clGetDeviceInfo(device, param, size, value, &got));

    cl_context_properties properties[] = { CL_CONTEXT_PLATFORM, (cl_context_properties)platform,
        CL_CONTEXT_INTEROP_USER_SYNC, CL_FALSE, 0 };
    cl_context context = name(clCreateContext(properties, 1, &device, NULL, NULL, &code), "context");
    MUST(code);
    cl_context plain = name(clCreateContext(NULL, 1, &device, NULL, NULL, &code), "plain context");
    MUST(code);
    cl_queue_properties timed[] = { CL_QUEUE_PROPERTIES, CL_QUEUE_PROFILING_ENABLE, 0 };
    cl_command_queue queue = name(clCreateCommandQueueWithProperties(context, device, timed, &code), "queue");
    MUST(code);
    cl_command_queue old = name(clCreateCommandQueue(context, device, CL_QUEUE_PROFILING_ENABLE, &code), "old queue");
    MUST(code);
    static int host[1024];
    cl_mem buffer = name(clCreateBuffer(context, CL_MEM_READ_ONLY | CL_MEM_HOST_READ_ONLY, 4096, NULL, &code), "buffer");
    MUST(code);
    cl_mem over = name(clCreateBuffer(context, CL_MEM_USE_HOST_PTR, 4096, name(host, "host"), &code), "over host memory");
    MUST(code);
    cl_mem copied = name(clCreateBuffer(context, CL_MEM_COPY_HOST_PTR | CL_MEM_ALLOC_HOST_PTR, 4096, host, &code), "copied");
    MUST(code);
    cl_buffer_region region = { 1024, 512 };
    cl_mem sub = name(clCreateSubBuffer(buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &code), "sub-buffer");
    MUST(code);
    cl_image_format format = { CL_RGBA, CL_UNORM_INT8 };
    cl_image_desc desc = { .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 16, .image_height = 8 };
    cl_mem image = name(clCreateImage(context, CL_MEM_READ_WRITE, &format, &desc, NULL, &code), "image");
    MUST(code);
    cl_sampler_properties sampling[] = { CL_SAMPLER_ADDRESSING_MODE, CL_ADDRESS_REPEAT, CL_SAMPLER_NORMALIZED_COORDS, 1, 0 };
    cl_sampler sampler = name(clCreateSamplerWithProperties(context, sampling, &code), "sampler");
    MUST(code);
    cl_sampler classic = name(clCreateSampler(context, 0, CL_ADDRESS_CLAMP, CL_FILTER_LINEAR, &code), "old sampler");
    MUST(code);
    const char *text = source, *wrong = "__kernel void f() { missing; }";
    cl_program program = name(clCreateProgramWithSource(context, 1, &text, NULL, &code), "program");
    MUST(code);
    program_info(program, device);
    MUST(clBuildProgram(program, 0, NULL, "-cl-kernel-arg-info -DX=1", NULL, NULL));
    cl_program quiet = name(clCreateProgramWithSource(context, 1, &text, NULL, &code), "quiet program");
    MUST(clBuildProgram(quiet, 0, NULL, NULL, NULL, NULL));
    cl_program bad = name(clCreateProgramWithSource(context, 1, &wrong, NULL, &code), "bad program");
    printf("bad: %d\n", clBuildProgram(bad, 1, &device, "-DY", NULL, NULL));
    cl_kernel kernel = name(clCreateKernel(program, "tell", &code), "kernel");
    MUST(code);
    cl_kernel print = name(clCreateKernel(quiet, "print", &code), "print");
    MUST(code);
    int value4 = 5;
    MUST(clSetKernelArg(print, 0, 4, &value4));
    cl_kernel clone = name(clCloneKernel(print, &code), "clone");
    MUST(code);
    value4 = 6;
    MUST(clSetKernelArg(print, 0, 4, &value4));
    MUST(clRetainMemObject(buffer));

    ASK("context", CL_CONTEXT_REFERENCE_COUNT, CL_CONTEXT_NUM_DEVICES, clGetContextInfo(context, param, size, value, &got));
    ASK("plain", CL_CONTEXT_REFERENCE_COUNT, CL_CONTEXT_NUM_DEVICES, clGetContextInfo(plain, param, size, value, &got));
    ASK("queue", CL_QUEUE_CONTEXT, CL_QUEUE_PROPERTIES_ARRAY, clGetCommandQueueInfo(queue, param, size, value, &got));
    ASK("old queue", CL_QUEUE_CONTEXT, CL_QUEUE_PROPERTIES_ARRAY, clGetCommandQueueInfo(old, param, size, value, &got));
    cl_mem objects[] = { buffer, over, copied, sub, image };
    for (int at = 0; at < 5; at++)
        ASK("memory", CL_MEM_TYPE, CL_MEM_PROPERTIES, clGetMemObjectInfo(objects[at], param, size, value, &got));
    ASK("image", CL_IMAGE_FORMAT, CL_IMAGE_NUM_SAMPLES, clGetImageInfo(image, param, size, value, &got));
    ASK("sampler", CL_SAMPLER_REFERENCE_COUNT, CL_SAMPLER_PROPERTIES, clGetSamplerInfo(sampler, param, size, value, &got));
    ASK("old sampler", CL_SAMPLER_REFERENCE_COUNT, CL_SAMPLER_PROPERTIES, clGetSamplerInfo(classic, param, size, value, &got));
    program_info(program, device);
    program_info(quiet, device);
    program_info(bad, device);
    kernel_info(kernel, device, 8);
    /* Not asked for: some drivers tell of arguments all the same. */
    kernel_info(print, device, 1);

    size_t global[2] = { 8, 8 }, local[2] = { 4, 2 };
    cl_event event;
    MUST(clEnqueueNDRangeKernel(queue, clone, 2, NULL, global, local, 0, NULL, &event));
    name(event, "event");
    MUST(clFinish(queue));
    MUST(clEnqueueNDRangeKernel(queue, print, 2, NULL, global, local, 0, NULL, NULL));
    MUST(clFinish(queue));
    cl_event user = name(clCreateUserEvent(context, &code), "user event");
    MUST(code);
    ASK("event", CL_EVENT_COMMAND_QUEUE, CL_EVENT_CONTEXT, clGetEventInfo(event, param, size, value, &got));
    ASK("user event", CL_EVENT_COMMAND_QUEUE, CL_EVENT_CONTEXT, clGetEventInfo(user, param, size, value, &got));
    MUST(clSetUserEventStatus(user, -7));
    ASK("user event", CL_EVENT_COMMAND_QUEUE, CL_EVENT_CONTEXT, clGetEventInfo(user, param, size, value, &got));
    cl_ulong times[5], on_device = 0, on_host = 0, later = 0;
    for (int at = 0; at < 5; at++) {
        code = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_QUEUED + at, 8, &times[at], NULL);
        printf("time %d: %d, in order: %d\n", at, code, at == 0 || code || times[at] >= times[at - 1]);
    }
    printf("timers: %d", clGetDeviceAndHostTimer(device, &on_device, &on_host));
    printf(" %d", clGetHostTimer(device, &later));
    printf(" %d %d\n", on_device != 0, later >= on_host);
    return 0;
}
