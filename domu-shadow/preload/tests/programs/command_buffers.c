/* Records random command buffers and enqueues them, and prints the codes, answers and contents: two OpenCL libraries over the same
 * driver can be compared, and a run with moves with one without. With an argument it records commands on images too. */
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 256, BYTES = WORDS * 4, BUFFERS = 3, ROUNDS = 12, COMMANDS = 10, SIDE = 8 };

#define MUST(call) do { cl_int must = (call); if (must) { \
        fprintf(stderr, "command_buffers: %s: %d\n", #call, must); exit(2); } } while (0)

static cl_platform_id platform;
static cl_device_id device;
static cl_context context;
static cl_command_queue queue;
static cl_mem buffers[BUFFERS];
static cl_program program;
static cl_kernel kernels[COMMANDS];
static int kernel_count;
static cl_uint seed = 1;

static cl_uint any(cl_uint below)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

/* The extension's functions. From 0.9.5 on they take properties behind the queue. */
static int late;
typedef void *CB;
static CB (*create)(cl_uint, const cl_command_queue *, const cl_ulong *, cl_int *);
static cl_int (*finalize)(CB), (*retain)(CB), (*release)(CB);
static cl_int (*enqueue)(cl_uint, cl_command_queue *, CB, cl_uint, const cl_event *, cl_event *);
static cl_int (*info)(CB, cl_uint, size_t, void *, size_t *);
static void *barrier, *copy, *fill, *run, *fill_image, *copy_image, *to_image, *from_image, *copy_rect;

static void *find(const char *name)
{
    void *function = clGetExtensionFunctionAddressForPlatform(platform, name);
    if (!function) {
        fprintf(stderr, "command_buffers: no %s\n", name);
        exit(2);
    }
    return function;
}

#define UNPACK(...) __VA_ARGS__
#define END cl_uint, const cl_uint *, cl_uint *, void **
#define RECORD(function, types, args, count, waits, point) (late \
    ? ((cl_int (*)(CB, void *, const void *, UNPACK types, END))function)(cb, NULL, NULL, UNPACK args, count, waits, point, NULL) \
    : ((cl_int (*)(CB, void *, UNPACK types, END))function)(cb, NULL, UNPACK args, count, waits, point, NULL))

static cl_int record_barrier(CB cb, cl_uint count, const cl_uint *waits, cl_uint *point)
{
    if (late)
        return ((cl_int (*)(CB, void *, const void *, END))barrier)(cb, NULL, NULL, count, waits, point, NULL);
    return ((cl_int (*)(CB, void *, END))barrier)(cb, NULL, count, waits, point, NULL);
}

static cl_int record_run(CB cb, cl_kernel kernel, cl_uint count, const cl_uint *waits, cl_uint *point)
{
    static size_t global = WORDS, local = 8;
    return ((cl_int (*)(CB, void *, const void *, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *, END))run)(
        cb, NULL, NULL, kernel, 1, NULL, &global, &local, count, waits, point, NULL);
}

static void show_contents(const char *when)
{
    for (int i = 0; i < BUFFERS; i++) {
        cl_uint words[WORDS], sum = 0;
        MUST(clEnqueueReadBuffer(queue, buffers[i], CL_TRUE, 0, BYTES, words, 0, NULL, NULL));
        for (int at = 0; at < WORDS; at++)
            sum = sum * 31 + words[at];
        printf("%s buffer %d: %08x\n", when, i, sum);
    }
}

static void show_info(const char *when, CB cb)
{
    /* From queues to the context. The references are those of the program and of the driver. */
    for (cl_uint param = 0x1294; param <= 0x1299; param++) {
        void *value[4] = { NULL };
        size_t size = 0;
        cl_int code = info(cb, param, sizeof value, value, &size);
        printf("%s info %#x: %d", when, param, code);
        /* pocl 3.1 gives wrong bytes for queues and properties. */
        int is_right = late || (param != 0x1294 && param != 0x1298);
        if (!code && is_right)
            printf(", %zu bytes", size);
        if (!code && is_right && param == 0x1294)
            printf(": %s", value[0] == queue ? "the queue" : "another");
        else if (!code && param == 0x1299)
            printf(": %s", value[0] == context ? "the context" : "another");
        else if (!code && is_right)
            printf(": %lu", (unsigned long)value[0] & 0xffffffff);
        putchar('\n');
    }
}

static CB new_buffer(const cl_ulong *properties)
{
    cl_int code;
    CB cb = create(1, &queue, properties, &code);
    MUST(code);
    return cb;
}

/* One random command. */
static void record(CB cb, cl_uint *points, cl_uint *known)
{
    cl_uint count = *known ? any(*known < 3 ? *known + 1 : 3) : 0, waits[3], point = 0;
    for (cl_uint at = 0; at < count; at++)
        waits[at] = points[any(*known)];
    const cl_uint *list = count ? waits : NULL;
    cl_uint *wanted = any(3) ? &point : NULL;
    cl_mem from = buffers[any(BUFFERS)], to = buffers[any(BUFFERS)];
    size_t first = any(WORDS / 2) * 4, size = (1 + any(WORDS / 2)) * 4;
    cl_uint value = any(1000);
    cl_int code;
    switch (any(5)) {
    case 0:
        code = record_barrier(cb, count, list, wanted);
        break;
    case 1:
        if (from == to)
            to = buffers[from == buffers[0]];
        code = RECORD(copy, (cl_mem, cl_mem, size_t, size_t, size_t), (from, to, first, 0, size), count, list, wanted);
        break;
    case 2:
        code = RECORD(fill, (cl_mem, const void *, size_t, size_t, size_t), (to, &value, 4, first, size), count, list, wanted);
        break;
    default: {
        /* One for each: pocl 3.1 crashes where an argument is set again. */
        int adds = any(2);
        cl_kernel kernel = clCreateKernel(program, adds ? "increase" : "accumulate", &code);
        MUST(code);
        MUST(clSetKernelArg(kernel, 0, sizeof to, &to));
        MUST(adds ? clSetKernelArg(kernel, 1, sizeof value, &value) : clSetKernelArg(kernel, 1, sizeof from, &from));
        code = record_run(cb, kernel, count, list, wanted);
        kernels[kernel_count++] = kernel;
    }
    }
    if (code)
        printf("record: %d\n", code);
    if (!code && wanted)
        points[(*known)++] = point;
}

static void random_buffer(void)
{
    cl_uint points[COMMANDS], known = 0, count = 1 + any(COMMANDS);
    CB cb = new_buffer(NULL);
    for (cl_uint at = 0; at < count; at++)
        record(cb, points, &known);
    printf("finalize: %d, again: %d\n", finalize(cb), finalize(cb));
    for (int times = 0; times < 3; times++) {
        cl_event event, user = NULL;
        /* What waits for the program is with the driver meanwhile. */
        if (times == 1) {
            cl_int code;
            user = clCreateUserEvent(context, &code);
            MUST(code);
        }
        cl_command_queue named = queue;
        MUST(enqueue(times == 2, times == 2 ? &named : NULL, cb, user != NULL, user ? &user : NULL, &event));
        cl_command_type type = 0;
        MUST(clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, sizeof type, &type, NULL));
        MUST(clFlush(queue));
        if (user) {
            MUST(clSetUserEventStatus(user, CL_COMPLETE));
            MUST(clReleaseEvent(user));
        }
        MUST(clWaitForEvents(1, &event));
        MUST(clReleaseEvent(event));
        printf("command type %#x\n", type);
        show_contents("after");
    }
    MUST(release(cb));
    while (kernel_count > 0)
        MUST(clReleaseKernel(kernels[--kernel_count]));
}

/* Early versions refuse a command buffer that is pending. */
static void enqueue_and_wait(CB cb, int times)
{
    for (int i = 0; i < times; i++) {
        cl_event event;
        MUST(enqueue(0, NULL, cb, 0, NULL, &event));
        MUST(clWaitForEvents(1, &event));
        MUST(clReleaseEvent(event));
    }
}

/* What a command buffer names lives as long as it does. */
static void kept_objects(void)
{
    cl_int code;
    cl_mem to = clCreateBuffer(context, CL_MEM_READ_WRITE, BYTES, NULL, &code);
    MUST(code);
    cl_kernel kernel = clCreateKernel(program, "increase", &code);
    MUST(code);
    cl_uint value = 5, point;
    MUST(clSetKernelArg(kernel, 0, sizeof(cl_mem), &buffers[0]));
    MUST(clSetKernelArg(kernel, 1, sizeof value, &value));
    const cl_ulong properties[] = { 0x1293, 0, 0 };
    CB cb = new_buffer(properties);
    show_info("recording", cb);
    MUST(record_run(cb, kernel, 0, NULL, &point));
    MUST(RECORD(copy, (cl_mem, cl_mem, size_t, size_t, size_t), (buffers[0], to, 0, 0, BYTES), 1, &point, &point));
    MUST(RECORD(copy, (cl_mem, cl_mem, size_t, size_t, size_t), (to, buffers[1], 0, 0, BYTES), 1, &point, NULL));
    MUST(clReleaseKernel(kernel));
    MUST(clReleaseMemObject(to));
    MUST(retain(cb));
    MUST(finalize(cb));
    show_info("executable", cb);
    MUST(release(cb));
    enqueue_and_wait(cb, 3);
    show_contents("kept");
    MUST(release(cb));
}

static void errors(void)
{
    CB cb = new_buffer(NULL);
    cl_int code;
    cl_uint value = 1;
    printf("not final: %d\n", enqueue(0, NULL, cb, 0, NULL, NULL));
    MUST(finalize(cb));
    printf("final: %d\n",
        RECORD(fill, (cl_mem, const void *, size_t, size_t, size_t), (buffers[0], &value, 4, 0, 4), 0, NULL, NULL));
    MUST(release(cb));
    cb = new_buffer(NULL);
    printf("no size: %d\n",
        RECORD(copy, (cl_mem, cl_mem, size_t, size_t, size_t), (buffers[0], buffers[1], 0, 0, BYTES + 4), 0, NULL, NULL));
    printf("list without number: %d\n", record_barrier(cb, 0, &value, NULL));
    MUST(release(cb));
    create(0, NULL, NULL, &code);
    printf("no queue: %d\n", code);
}

static void images(void)
{
    cl_int code;
    const cl_image_format format = { CL_RGBA, CL_UNSIGNED_INT8 };
    cl_image_desc desc = { .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = SIDE, .image_height = SIDE };
    cl_mem one = clCreateImage(context, CL_MEM_READ_WRITE, &format, &desc, NULL, &code);
    MUST(code);
    cl_mem two = clCreateImage(context, CL_MEM_READ_WRITE, &format, &desc, NULL, &code);
    MUST(code);
    const size_t zero[3] = { 0, 0, 0 }, all[3] = { SIDE, SIDE, 1 }, half[3] = { SIDE, SIDE / 2, 1 }, rows[3] = { 16, 4, 1 };
    const cl_uint color[4] = { 1, 20, 30, 200 };
    CB cb = new_buffer(NULL);
    typedef const size_t *S;
    MUST(RECORD(fill_image, (cl_mem, const void *, S, S), (one, color, zero, all), 0, NULL, NULL));
    MUST(RECORD(to_image, (cl_mem, cl_mem, size_t, S, S), (buffers[0], one, 0, zero, half), 0, NULL, NULL));
    MUST(RECORD(copy_image, (cl_mem, cl_mem, S, S, S), (one, two, zero, zero, all), 0, NULL, NULL));
    MUST(RECORD(from_image, (cl_mem, cl_mem, S, S, size_t), (two, buffers[1], zero, all, 0), 0, NULL, NULL));
    MUST(RECORD(copy_rect, (cl_mem, cl_mem, S, S, S, size_t, size_t, size_t, size_t),
        (buffers[1], buffers[2], zero, zero, rows, 32, 0, 64, 0), 0, NULL, NULL));
    MUST(finalize(cb));
    enqueue_and_wait(cb, 2);
    show_contents("images");
    MUST(release(cb));
    MUST(clReleaseMemObject(one));
    MUST(clReleaseMemObject(two));
}

int main(int argc, char **argv)
{
    (void)argv;
    cl_int code;
    MUST(clGetPlatformIDs(1, &platform, NULL));
    MUST(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL));
    static cl_name_version versions[256];
    size_t size;
    MUST(clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS_WITH_VERSION, sizeof versions, versions, &size));
    for (size_t at = 0; at < size / sizeof versions[0]; at++)
        if (!strcmp(versions[at].name, "cl_khr_command_buffer")) {
            late = versions[at].version >= CL_MAKE_VERSION(0, 9, 5);
            printf("version %#x\n", versions[at].version);
        }
    create = find("clCreateCommandBufferKHR");
    finalize = find("clFinalizeCommandBufferKHR");
    retain = find("clRetainCommandBufferKHR");
    release = find("clReleaseCommandBufferKHR");
    enqueue = find("clEnqueueCommandBufferKHR");
    info = find("clGetCommandBufferInfoKHR");
    barrier = find("clCommandBarrierWithWaitListKHR");
    copy = find("clCommandCopyBufferKHR");
    fill = find("clCommandFillBufferKHR");
    run = find("clCommandNDRangeKernelKHR");
    context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    MUST(code);
    queue = clCreateCommandQueue(context, device, 0, &code);
    MUST(code);
    const char *source =
        "__kernel void increase(__global uint *a, const uint value) { a[get_global_id(0)] += value; }\n"
        "__kernel void accumulate(__global uint *a, __global const uint *b) { a[get_global_id(0)] += b[get_global_id(0)]; }\n";
    program = clCreateProgramWithSource(context, 1, &source, NULL, &code);
    MUST(code);
    MUST(clBuildProgram(program, 0, NULL, NULL, NULL, NULL));
    for (int i = 0; i < BUFFERS; i++) {
        cl_uint words[WORDS];
        for (int at = 0; at < WORDS; at++)
            words[at] = any(1 << 16);
        buffers[i] = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, BYTES, words, &code);
        MUST(code);
    }
    for (int round = 0; round < ROUNDS; round++)
        random_buffer();
    kept_objects();
    errors();
    if (argc > 1) {
        fill_image = find("clCommandFillImageKHR");
        copy_image = find("clCommandCopyImageKHR");
        to_image = find("clCommandCopyBufferToImageKHR");
        from_image = find("clCommandCopyImageToBufferKHR");
        copy_rect = find("clCommandCopyBufferRectKHR");
        images();
    }
    for (int i = 0; i < BUFFERS; i++)
        MUST(clReleaseMemObject(buffers[i]));
    MUST(clReleaseProgram(program));
    MUST(clReleaseCommandQueue(queue));
    MUST(clReleaseContext(context));
    return 0;
}
