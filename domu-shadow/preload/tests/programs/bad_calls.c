/* Calls every entry point of OpenCL with bad arguments, and prints what it answers.
 *
 * usage: bad_calls FIRST [wild]
 *
 * One line per case, from number FIRST on: "NUMBER<tab>NAME<tab>CODE THE SPECIFICATION WANTS<tab>CODE". The last
 * column is missing in the last line if the call crashed. "wild" adds the cases with handles that are freed or of
 * another kind, on which a plain ICD loader is undefined.
 */
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_0_APIS
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#define CL_USE_DEPRECATED_OPENCL_2_0_APIS
#define CL_USE_DEPRECATED_OPENCL_2_2_APIS
#define _GNU_SOURCE
#include <CL/cl.h>
#include <CL/cl_egl.h>
#include <CL/cl_ext.h>
#include <CL/cl_gl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int number, first, wild;

/* Whether this case is to be run; if so, its line is begun. */
static int begin(int is_wild, const char *what, cl_int wanted)
{
    if ((is_wild && !wild) || number++ < first)
        return 0;
    printf("%d\t%s\t%d\t", number - 1, what, wanted);
    fflush(stdout);
    alarm(60);
    return 1;
}

static void end(cl_int code)
{
    printf("%d\n", code);
    fflush(stdout);
}

/* A case whose call a plain loader passes on. */
#define CASE(what, wanted, call) do { if (begin(0, what, wanted)) end(call); } while (0)

/* The code of a call that makes an object, which uses &code; 1 if object and code contradict each other. */
#define MADE(call) ({ cl_int code = 1; void *made = (void *)(call); (made == NULL) == (code != 0) ? code : 1; })

/* The call for each bad handle H of a kind: NULL, and on request one of another kind, a freed one, and garbage. */
#define HANDLES(what, freed, wanted, call) do { \
        void *handles[] = { NULL, other_kind((void *)freed), (void *)freed, (void *)0x1234567890ab }; \
        static const char *const names[] = { "NULL", "wrong kind", "freed", "garbage" }; \
        for (int at = 0; at < 4; at++) { \
            char name_of[128]; \
            void *H = handles[at]; \
            snprintf(name_of, sizeof name_of, "%s: %s", what, names[at]); \
            if (begin(at > 0, name_of, wanted)) end(call); \
        } \
    } while (0)

/* The call, which uses n and list, for each bad wait list. */
#define WAIT_LISTS(what, call) do { \
        cl_event null_event = NULL, foreign = away.marker, bad = (cl_event)freed.user; \
        struct { const char *name; cl_uint n; const cl_event *list; cl_int wanted; int is_wild; } lists[] = { \
            { "events without list", 1, NULL, CL_INVALID_EVENT_WAIT_LIST, 0 }, \
            { "list without events", 0, &here.marker, CL_INVALID_EVENT_WAIT_LIST, 0 }, \
            { "NULL in the list", 1, &null_event, CL_INVALID_EVENT_WAIT_LIST, 0 }, \
            { "freed event in the list", 1, &bad, CL_INVALID_EVENT_WAIT_LIST, 1 }, \
            { "event of another context", 1, &foreign, CL_INVALID_CONTEXT, 0 }, \
        }; \
        for (int at = 0; at < 5; at++) { \
            char name_of[128]; \
            cl_uint n = lists[at].n; \
            const cl_event *list = lists[at].list; \
            snprintf(name_of, sizeof name_of, "%s: %s", what, lists[at].name); \
            if (begin(lists[at].is_wild, name_of, lists[at].wanted)) end(call); \
        } \
    } while (0)

/* The bad sizes and names of a query; the call uses param, size, value, size_ret. */
#define QUERY(what, good, call) do { \
        char room[4096]; \
        size_t got; \
        struct { const char *name; cl_uint param; size_t size; void *value; size_t *size_ret; cl_int wanted; } asked[] = { \
            { "unknown parameter", 0x7777, sizeof room, room, &got, CL_INVALID_VALUE }, \
            { "no room", good, 1, room, &got, CL_INVALID_VALUE }, \
            { "size 0 with room", good, 0, room, &got, CL_INVALID_VALUE }, \
            { "nothing wanted", good, 0, NULL, NULL, CL_SUCCESS }, \
            { "size without room", good, 64, NULL, NULL, CL_SUCCESS }, \
        }; \
        for (int at = 0; at < 5; at++) { \
            char name_of[128]; \
            cl_uint param = asked[at].param; \
            size_t size = asked[at].size, *size_ret = asked[at].size_ret; \
            void *value = asked[at].value; \
            snprintf(name_of, sizeof name_of, "%s: %s", what, asked[at].name); \
            CASE(name_of, asked[at].wanted, call); \
        } \
    } while (0)

struct objects {
    cl_context context;
    cl_command_queue queue;
    cl_mem buffer, other, sub, image;
    cl_sampler sampler;
    cl_program program, raw;
    cl_kernel kernel;
    cl_event marker, user;
};

static struct objects here, away, freed;
static cl_platform_id platform;
static cl_device_id device;

static void *other_kind(void *kind)
{
    return kind == (void *)freed.buffer || kind == (void *)freed.image ? (void *)here.queue : (void *)here.buffer;
}

#define MUST(call) do { cl_int must = (call); if (must) { \
        fprintf(stderr, "bad_calls: %s: %d\n", #call, must); exit(2); } } while (0)

static const char *const source =
    "__kernel void k(__global int *a, int b, __local int *c) { c[0] = b; a[0] = c[0]; }";
static const cl_image_format format = { CL_RGBA, CL_UNORM_INT8 };
static const size_t zero[3], one[3] = { 1, 1, 1 }, huge[3] = { 1 << 20, 1 << 20, 1 }, empty[3] = { 0, 1, 1 };

static cl_image_desc flat(void)
{
    return (cl_image_desc){ .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 8, .image_height = 8 };
}

static void make(struct objects *o)
{
    cl_int code;
    cl_buffer_region region = { 0, 1024 };
    cl_image_desc desc = flat();
    o->context = clCreateContext(NULL, 1, &device, NULL, NULL, &code); MUST(code);
    o->queue = clCreateCommandQueue(o->context, device, 0, &code); MUST(code);
    o->buffer = clCreateBuffer(o->context, CL_MEM_READ_WRITE, 4096, NULL, &code); MUST(code);
    o->other = clCreateBuffer(o->context, CL_MEM_READ_WRITE, 4096, NULL, &code); MUST(code);
    o->sub = clCreateSubBuffer(o->buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &code); MUST(code);
    o->image = clCreateImage(o->context, CL_MEM_READ_WRITE, &format, &desc, NULL, &code); MUST(code);
    o->sampler = clCreateSampler(o->context, CL_FALSE, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST, &code); MUST(code);
    const char *text = source;
    o->program = clCreateProgramWithSource(o->context, 1, &text, NULL, &code); MUST(code);
    o->raw = clCreateProgramWithSource(o->context, 1, &text, NULL, &code); MUST(code);
    MUST(clBuildProgram(o->program, 0, NULL, "-cl-kernel-arg-info", NULL, NULL));
    o->kernel = clCreateKernel(o->program, "k", &code); MUST(code);
    MUST(clEnqueueMarkerWithWaitList(o->queue, 0, NULL, &o->marker));
    o->user = clCreateUserEvent(o->context, &code); MUST(code);
    MUST(clFinish(o->queue));
}

static void release(struct objects *o)
{
    MUST(clReleaseEvent(o->user));
    MUST(clReleaseEvent(o->marker));
    MUST(clReleaseKernel(o->kernel));
    MUST(clReleaseProgram(o->raw));
    MUST(clReleaseProgram(o->program));
    MUST(clReleaseSampler(o->sampler));
    MUST(clReleaseMemObject(o->image));
    MUST(clReleaseMemObject(o->sub));
    MUST(clReleaseMemObject(o->other));
    MUST(clReleaseMemObject(o->buffer));
    MUST(clReleaseCommandQueue(o->queue));
    MUST(clReleaseContext(o->context));
}

static void CL_CALLBACK on_nothing(void *data) { (void)data; }
static void CL_CALLBACK on_event(cl_event e, cl_int s, void *u) { (void)e; (void)s; (void)u; }
static void CL_CALLBACK on_mem(cl_mem m, void *u) { (void)m; (void)u; }
static void CL_CALLBACK on_context(cl_context c, void *u) { (void)c; (void)u; }
static void CL_CALLBACK on_program(cl_program p, void *u) { (void)p; (void)u; }

static void platforms_and_devices(void)
{
    cl_uint count;
    cl_platform_id platforms[1];
    cl_device_id devices[4];
    CASE("clGetPlatformIDs: nothing wanted", CL_INVALID_VALUE, clGetPlatformIDs(0, NULL, NULL));
    CASE("clGetPlatformIDs: array without entries", CL_INVALID_VALUE, clGetPlatformIDs(0, platforms, &count));
    HANDLES("clGetPlatformInfo", (void *)8, CL_INVALID_PLATFORM,
        H == NULL ? CL_INVALID_PLATFORM : clGetPlatformInfo(H, CL_PLATFORM_NAME, 0, NULL, NULL));
    QUERY("clGetPlatformInfo", CL_PLATFORM_NAME, clGetPlatformInfo(platform, param, size, value, size_ret));
    CASE("clGetDeviceIDs: nothing wanted", CL_INVALID_VALUE,
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, NULL));
    CASE("clGetDeviceIDs: array without entries", CL_INVALID_VALUE,
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, devices, &count));
    CASE("clGetDeviceIDs: type 0", CL_INVALID_DEVICE_TYPE, clGetDeviceIDs(platform, 0, 1, devices, &count));
    CASE("clGetDeviceIDs: unknown type", CL_INVALID_DEVICE_TYPE,
        clGetDeviceIDs(platform, (cl_device_type)1 << 40, 1, devices, &count));
    CASE("clGetDeviceIDs: no such device", CL_DEVICE_NOT_FOUND,
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ACCELERATOR, 1, devices, &count));
    HANDLES("clGetDeviceInfo", (void *)8, CL_INVALID_DEVICE, clGetDeviceInfo(H, CL_DEVICE_NAME, 0, NULL, NULL));
    QUERY("clGetDeviceInfo", CL_DEVICE_NAME, clGetDeviceInfo(device, param, size, value, size_ret));
    HANDLES("clRetainDevice", (void *)8, CL_INVALID_DEVICE, clRetainDevice(H));
    HANDLES("clReleaseDevice", (void *)8, CL_INVALID_DEVICE, clReleaseDevice(H));
    HANDLES("clCreateSubDevices", (void *)8, CL_INVALID_DEVICE, clCreateSubDevices(H, NULL, 0, NULL, &count));
    cl_device_partition_property many[] = { CL_DEVICE_PARTITION_EQUALLY, 1 << 20, 0 }, bad[] = { 0x7777, 1, 0 };
    cl_device_partition_property equal[] = { CL_DEVICE_PARTITION_EQUALLY, 1, 0 };
    CASE("clCreateSubDevices: no properties", CL_INVALID_VALUE, clCreateSubDevices(device, NULL, 1, devices, &count));
    CASE("clCreateSubDevices: unknown property", CL_INVALID_VALUE, clCreateSubDevices(device, bad, 4, devices, &count));
    CASE("clCreateSubDevices: too many units", CL_DEVICE_PARTITION_FAILED,
        clCreateSubDevices(device, many, 4, devices, &count));
    CASE("clCreateSubDevices: no room", CL_INVALID_VALUE, clCreateSubDevices(device, equal, 0, devices, &count));
    cl_ulong time;
    HANDLES("clGetHostTimer", (void *)8, CL_INVALID_DEVICE, clGetHostTimer(H, &time));
    HANDLES("clGetDeviceAndHostTimer", (void *)8, CL_INVALID_DEVICE, clGetDeviceAndHostTimer(H, &time, &time));
    CASE("clGetHostTimer: no room", CL_INVALID_VALUE, clGetHostTimer(device, NULL));
    CASE("clGetDeviceAndHostTimer: no room", CL_INVALID_VALUE, clGetDeviceAndHostTimer(device, NULL, NULL));
    CASE("clUnloadCompiler", CL_SUCCESS, clUnloadCompiler());
    HANDLES("clUnloadPlatformCompiler", (void *)8, CL_INVALID_PLATFORM, clUnloadPlatformCompiler(H));
    CASE("clGetExtensionFunctionAddress: NULL", CL_SUCCESS, clGetExtensionFunctionAddress(NULL) ? 1 : 0);
    CASE("clGetExtensionFunctionAddress: unknown", CL_SUCCESS, clGetExtensionFunctionAddress("clNoSuch") ? 1 : 0);
    HANDLES("clGetExtensionFunctionAddressForPlatform", (void *)8, CL_SUCCESS,
        clGetExtensionFunctionAddressForPlatform(H, "clIcdGetPlatformIDsKHR") ? 1 : 0);
    CASE("clGetExtensionFunctionAddressForPlatform: NULL name", CL_SUCCESS,
        clGetExtensionFunctionAddressForPlatform(platform, NULL) ? 1 : 0);
    CASE("clGetExtensionFunctionAddressForPlatform: unknown", CL_SUCCESS,
        clGetExtensionFunctionAddressForPlatform(platform, "clNoSuch") ? 1 : 0);
}

static void contexts_and_queues(void)
{
    cl_context_properties unknown[] = { 0x7777, 1, 0 }, nowhere[] = { CL_CONTEXT_PLATFORM, 0, 0 };
    cl_context_properties twice[] = { CL_CONTEXT_PLATFORM, (cl_context_properties)platform,
        CL_CONTEXT_PLATFORM, (cl_context_properties)platform, 0 };
    cl_device_id none = NULL;
    CASE("clCreateContext: no devices", CL_INVALID_VALUE, MADE(clCreateContext(NULL, 0, NULL, NULL, NULL, &code)));
    CASE("clCreateContext: count without list", CL_INVALID_VALUE,
        MADE(clCreateContext(NULL, 1, NULL, NULL, NULL, &code)));
    CASE("clCreateContext: list without count", CL_INVALID_VALUE,
        MADE(clCreateContext(NULL, 0, &device, NULL, NULL, &code)));
    CASE("clCreateContext: NULL device", CL_INVALID_DEVICE, MADE(clCreateContext(NULL, 1, &none, NULL, NULL, &code)));
    CASE("clCreateContext: data without callback", CL_INVALID_VALUE,
        MADE(clCreateContext(NULL, 1, &device, NULL, &none, &code)));
    CASE("clCreateContext: unknown property", CL_INVALID_PROPERTY,
        MADE(clCreateContext(unknown, 1, &device, NULL, NULL, &code)));
    CASE("clCreateContext: NULL platform", CL_INVALID_PLATFORM,
        MADE(clCreateContext(nowhere, 1, &device, NULL, NULL, &code)));
    CASE("clCreateContext: platform twice", CL_INVALID_PROPERTY,
        MADE(clCreateContext(twice, 1, &device, NULL, NULL, &code)));
    CASE("clCreateContext: no errcode_ret", CL_SUCCESS,
        ({ cl_context c = clCreateContext(NULL, 1, &device, NULL, NULL, NULL); c ? clReleaseContext(c) : 1; }));
    CASE("clCreateContextFromType: no such device", CL_DEVICE_NOT_FOUND,
        MADE(clCreateContextFromType(NULL, CL_DEVICE_TYPE_ACCELERATOR, NULL, NULL, &code)));
    CASE("clCreateContextFromType: type 0", CL_INVALID_DEVICE_TYPE,
        MADE(clCreateContextFromType(NULL, 0, NULL, NULL, &code)));
    CASE("clCreateContextFromType: data without callback", CL_INVALID_VALUE,
        MADE(clCreateContextFromType(NULL, CL_DEVICE_TYPE_ALL, NULL, &none, &code)));
    CASE("clCreateContextFromType: unknown property", CL_INVALID_PROPERTY,
        MADE(clCreateContextFromType(unknown, CL_DEVICE_TYPE_ALL, NULL, NULL, &code)));
    CASE("clCreateContextFromType: NULL platform", CL_INVALID_PLATFORM,
        MADE(clCreateContextFromType(nowhere, CL_DEVICE_TYPE_ALL, NULL, NULL, &code)));
    HANDLES("clRetainContext", freed.context, CL_INVALID_CONTEXT, clRetainContext(H));
    HANDLES("clReleaseContext", freed.context, CL_INVALID_CONTEXT, clReleaseContext(H));
    HANDLES("clGetContextInfo", freed.context, CL_INVALID_CONTEXT,
        clGetContextInfo(H, CL_CONTEXT_DEVICES, 0, NULL, NULL));
    QUERY("clGetContextInfo", CL_CONTEXT_DEVICES, clGetContextInfo(here.context, param, size, value, size_ret));
    HANDLES("clSetContextDestructorCallback", freed.context, CL_INVALID_CONTEXT,
        clSetContextDestructorCallback(H, on_context, NULL));
    CASE("clSetContextDestructorCallback: no function", CL_INVALID_VALUE,
        clSetContextDestructorCallback(here.context, NULL, NULL));

    HANDLES("clCreateCommandQueue context", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateCommandQueue(H, device, 0, &code)));
    HANDLES("clCreateCommandQueue device", (void *)8, CL_INVALID_DEVICE,
        MADE(clCreateCommandQueue(here.context, H, 0, &code)));
    CASE("clCreateCommandQueue: unknown property", CL_INVALID_VALUE,
        MADE(clCreateCommandQueue(here.context, device, 1u << 20, &code)));
    cl_queue_properties strange[] = { 0x7777, 1, 0 }, bits[] = { CL_QUEUE_PROPERTIES, 1u << 20, 0 };
    cl_queue_properties on_device[] = { CL_QUEUE_PROPERTIES,
        CL_QUEUE_ON_DEVICE | CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, 0 };
    HANDLES("clCreateCommandQueueWithProperties context", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateCommandQueueWithProperties(H, device, NULL, &code)));
    HANDLES("clCreateCommandQueueWithProperties device", (void *)8, CL_INVALID_DEVICE,
        MADE(clCreateCommandQueueWithProperties(here.context, H, NULL, &code)));
    CASE("clCreateCommandQueueWithProperties: unknown property", CL_INVALID_VALUE,
        MADE(clCreateCommandQueueWithProperties(here.context, device, strange, &code)));
    CASE("clCreateCommandQueueWithProperties: unknown bits", CL_INVALID_VALUE,
        MADE(clCreateCommandQueueWithProperties(here.context, device, bits, &code)));
    CASE("clCreateCommandQueueWithProperties: on the device", CL_INVALID_QUEUE_PROPERTIES,
        MADE(clCreateCommandQueueWithProperties(here.context, device, on_device, &code)));
    HANDLES("clRetainCommandQueue", freed.queue, CL_INVALID_COMMAND_QUEUE, clRetainCommandQueue(H));
    HANDLES("clReleaseCommandQueue", freed.queue, CL_INVALID_COMMAND_QUEUE, clReleaseCommandQueue(H));
    HANDLES("clGetCommandQueueInfo", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clGetCommandQueueInfo(H, CL_QUEUE_DEVICE, 0, NULL, NULL));
    QUERY("clGetCommandQueueInfo", CL_QUEUE_DEVICE, clGetCommandQueueInfo(here.queue, param, size, value, size_ret));
    size_t got;
    char room[64];
    CASE("clGetCommandQueueInfo: size of a host queue", CL_INVALID_COMMAND_QUEUE,
        clGetCommandQueueInfo(here.queue, CL_QUEUE_SIZE, sizeof room, room, &got));
    HANDLES("clSetCommandQueueProperty", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clSetCommandQueueProperty(H, CL_QUEUE_PROFILING_ENABLE, CL_TRUE, NULL));
    HANDLES("clFlush", freed.queue, CL_INVALID_COMMAND_QUEUE, clFlush(H));
    HANDLES("clFinish", freed.queue, CL_INVALID_COMMAND_QUEUE, clFinish(H));
    HANDLES("clSetDefaultDeviceCommandQueue context", freed.context, CL_INVALID_CONTEXT,
        clSetDefaultDeviceCommandQueue(H, device, here.queue));
    HANDLES("clSetDefaultDeviceCommandQueue device", (void *)8, CL_INVALID_DEVICE,
        clSetDefaultDeviceCommandQueue(here.context, H, here.queue));
    /* Where there are none on the device, that comes first. */
    CASE("clSetDefaultDeviceCommandQueue: no device", CL_INVALID_OPERATION,
        clSetDefaultDeviceCommandQueue(here.context, NULL, here.queue));
    CASE("clSetDefaultDeviceCommandQueue: no queue", CL_INVALID_OPERATION,
        clSetDefaultDeviceCommandQueue(here.context, device, NULL));
    CASE("clSetDefaultDeviceCommandQueue: neither", CL_INVALID_OPERATION,
        clSetDefaultDeviceCommandQueue(here.context, NULL, NULL));
    HANDLES("clSetDefaultDeviceCommandQueue queue", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clSetDefaultDeviceCommandQueue(here.context, device, H));
    CASE("clSetDefaultDeviceCommandQueue: host queue", CL_INVALID_OPERATION,
        clSetDefaultDeviceCommandQueue(here.context, device, here.queue));
}

static void memory(void)
{
    cl_mem_flags both = CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY;
    static char host[4096];
    cl_mem_properties property[] = { 0x7777, 1, 0 };
    HANDLES("clCreateBuffer", freed.context, CL_INVALID_CONTEXT, MADE(clCreateBuffer(H, 0, 64, NULL, &code)));
    CASE("clCreateBuffer: size 0", CL_INVALID_BUFFER_SIZE, MADE(clCreateBuffer(here.context, 0, 0, NULL, &code)));
    CASE("clCreateBuffer: larger than the device", CL_INVALID_BUFFER_SIZE,
        MADE(clCreateBuffer(here.context, 0, (size_t)1 << 50, NULL, &code)));
    CASE("clCreateBuffer: two kinds of access", CL_INVALID_VALUE,
        MADE(clCreateBuffer(here.context, both, 64, NULL, &code)));
    CASE("clCreateBuffer: unknown flag", CL_INVALID_VALUE,
        MADE(clCreateBuffer(here.context, (cl_mem_flags)1 << 40, 64, NULL, &code)));
    CASE("clCreateBuffer: two host accesses", CL_INVALID_VALUE,
        MADE(clCreateBuffer(here.context, CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS, 64, NULL, &code)));
    CASE("clCreateBuffer: use and copy", CL_INVALID_VALUE,
        MADE(clCreateBuffer(here.context, CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR, 64, host, &code)));
    CASE("clCreateBuffer: use and allocate", CL_INVALID_VALUE,
        MADE(clCreateBuffer(here.context, CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR, 64, host, &code)));
    CASE("clCreateBuffer: use without pointer", CL_INVALID_HOST_PTR,
        MADE(clCreateBuffer(here.context, CL_MEM_USE_HOST_PTR, 64, NULL, &code)));
    CASE("clCreateBuffer: copy without pointer", CL_INVALID_HOST_PTR,
        MADE(clCreateBuffer(here.context, CL_MEM_COPY_HOST_PTR, 64, NULL, &code)));
    CASE("clCreateBuffer: pointer without flag", CL_INVALID_HOST_PTR,
        MADE(clCreateBuffer(here.context, 0, 64, host, &code)));
    CASE("clCreateBuffer: larger than the device, allocated", CL_INVALID_BUFFER_SIZE,
        MADE(clCreateBuffer(here.context, CL_MEM_ALLOC_HOST_PTR, (size_t)1 << 50, NULL, &code)));
    CASE("clCreateBuffer: larger than the device, without pointer", CL_INVALID_BUFFER_SIZE,
        MADE(clCreateBuffer(here.context, CL_MEM_USE_HOST_PTR, (size_t)1 << 50, NULL, &code)));
    CASE("clCreateBuffer: larger than any address, allocated", CL_INVALID_BUFFER_SIZE,
        MADE(clCreateBuffer(here.context, CL_MEM_ALLOC_HOST_PTR, (size_t)-1, NULL, &code)));
    HANDLES("clCreateBufferWithProperties", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateBufferWithProperties(H, NULL, 0, 64, NULL, &code)));
    CASE("clCreateBufferWithProperties: unknown property", CL_INVALID_PROPERTY,
        MADE(clCreateBufferWithProperties(here.context, property, 0, 64, NULL, &code)));
    CASE("clCreateBufferWithProperties: size 0", CL_INVALID_BUFFER_SIZE,
        MADE(clCreateBufferWithProperties(here.context, NULL, 0, 0, NULL, &code)));
    cl_buffer_region part = { 0, 64 }, nothing = { 0, 0 }, beyond = { 4096, 64 }, odd = { 1, 64 };
    HANDLES("clCreateSubBuffer", freed.buffer, CL_INVALID_MEM_OBJECT,
        MADE(clCreateSubBuffer(H, 0, CL_BUFFER_CREATE_TYPE_REGION, &part, &code)));
    CASE("clCreateSubBuffer: of an image", CL_INVALID_MEM_OBJECT,
        MADE(clCreateSubBuffer(here.image, 0, CL_BUFFER_CREATE_TYPE_REGION, &part, &code)));
    CASE("clCreateSubBuffer: of a sub-buffer", CL_INVALID_MEM_OBJECT,
        MADE(clCreateSubBuffer(here.sub, 0, CL_BUFFER_CREATE_TYPE_REGION, &part, &code)));
    CASE("clCreateSubBuffer: unknown type", CL_INVALID_VALUE,
        MADE(clCreateSubBuffer(here.buffer, 0, 0x7777, &part, &code)));
    CASE("clCreateSubBuffer: no region", CL_INVALID_VALUE,
        MADE(clCreateSubBuffer(here.buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, NULL, &code)));
    CASE("clCreateSubBuffer: empty region", CL_INVALID_BUFFER_SIZE,
        MADE(clCreateSubBuffer(here.buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, &nothing, &code)));
    CASE("clCreateSubBuffer: region outside", CL_INVALID_VALUE,
        MADE(clCreateSubBuffer(here.buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, &beyond, &code)));
    CASE("clCreateSubBuffer: misaligned", CL_MISALIGNED_SUB_BUFFER_OFFSET,
        MADE(clCreateSubBuffer(here.buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, &odd, &code)));
    CASE("clCreateSubBuffer: host pointer flag", CL_INVALID_VALUE,
        MADE(clCreateSubBuffer(here.buffer, CL_MEM_ALLOC_HOST_PTR, CL_BUFFER_CREATE_TYPE_REGION, &part, &code)));
    CASE("clCreateSubBuffer: two kinds of access", CL_INVALID_VALUE,
        MADE(clCreateSubBuffer(here.buffer, both, CL_BUFFER_CREATE_TYPE_REGION, &part, &code)));
    HANDLES("clRetainMemObject", freed.buffer, CL_INVALID_MEM_OBJECT, clRetainMemObject(H));
    HANDLES("clReleaseMemObject", freed.buffer, CL_INVALID_MEM_OBJECT, clReleaseMemObject(H));
    HANDLES("clGetMemObjectInfo", freed.buffer, CL_INVALID_MEM_OBJECT,
        clGetMemObjectInfo(H, CL_MEM_SIZE, 0, NULL, NULL));
    QUERY("clGetMemObjectInfo", CL_MEM_SIZE, clGetMemObjectInfo(here.buffer, param, size, value, size_ret));
    HANDLES("clSetMemObjectDestructorCallback", freed.buffer, CL_INVALID_MEM_OBJECT,
        clSetMemObjectDestructorCallback(H, on_mem, NULL));
    CASE("clSetMemObjectDestructorCallback: no function", CL_INVALID_VALUE,
        clSetMemObjectDestructorCallback(here.buffer, NULL, NULL));
    HANDLES("clCreatePipe", freed.context, CL_INVALID_CONTEXT, MADE(clCreatePipe(H, 0, 16, 16, NULL, &code)));
    CASE("clCreatePipe", CL_INVALID_OPERATION, MADE(clCreatePipe(here.context, 0, 16, 16, NULL, &code)));
    HANDLES("clGetPipeInfo", freed.buffer, CL_INVALID_MEM_OBJECT,
        clGetPipeInfo(H, CL_PIPE_MAX_PACKETS, 0, NULL, NULL));
    CASE("clGetPipeInfo: of a buffer", CL_INVALID_MEM_OBJECT,
        clGetPipeInfo(here.buffer, CL_PIPE_MAX_PACKETS, 0, NULL, NULL));
}

static void images(void)
{
    cl_image_desc desc = flat(), bad;
    cl_image_format strange = { 0x7777, 0x7777 };
    cl_uint count;
    cl_mem_properties property[] = { 0x7777, 1, 0 };
    static char host[4096];
    HANDLES("clCreateImage", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateImage(H, 0, &format, &desc, NULL, &code)));
    CASE("clCreateImage: no format", CL_INVALID_IMAGE_FORMAT_DESCRIPTOR,
        MADE(clCreateImage(here.context, 0, NULL, &desc, NULL, &code)));
    CASE("clCreateImage: no description", CL_INVALID_IMAGE_DESCRIPTOR,
        MADE(clCreateImage(here.context, 0, &format, NULL, NULL, &code)));
    CASE("clCreateImage: unknown format", CL_INVALID_IMAGE_FORMAT_DESCRIPTOR,
        MADE(clCreateImage(here.context, 0, &strange, &desc, NULL, &code)));
    bad = desc, bad.image_width = 0;
    CASE("clCreateImage: width 0", CL_INVALID_IMAGE_DESCRIPTOR,
        MADE(clCreateImage(here.context, 0, &format, &bad, NULL, &code)));
    bad = desc, bad.image_type = 0x7777;
    CASE("clCreateImage: unknown type", CL_INVALID_IMAGE_DESCRIPTOR,
        MADE(clCreateImage(here.context, 0, &format, &bad, NULL, &code)));
    bad = desc, bad.image_width = 1 << 30;
    CASE("clCreateImage: too large", CL_INVALID_IMAGE_SIZE,
        MADE(clCreateImage(here.context, 0, &format, &bad, NULL, &code)));
    bad = desc, bad.image_row_pitch = 64;
    CASE("clCreateImage: pitch without pointer", CL_INVALID_IMAGE_DESCRIPTOR,
        MADE(clCreateImage(here.context, 0, &format, &bad, NULL, &code)));
    bad = desc, bad.image_row_pitch = 4;
    CASE("clCreateImage: pitch below the width", CL_INVALID_IMAGE_DESCRIPTOR,
        MADE(clCreateImage(here.context, CL_MEM_COPY_HOST_PTR, &format, &bad, host, &code)));
    bad = desc, bad.num_mip_levels = 3;
    CASE("clCreateImage: mip levels", CL_INVALID_IMAGE_DESCRIPTOR,
        MADE(clCreateImage(here.context, 0, &format, &bad, NULL, &code)));
    CASE("clCreateImage: use without pointer", CL_INVALID_HOST_PTR,
        MADE(clCreateImage(here.context, CL_MEM_USE_HOST_PTR, &format, &desc, NULL, &code)));
    CASE("clCreateImage: pointer without flag", CL_INVALID_HOST_PTR,
        MADE(clCreateImage(here.context, 0, &format, &desc, host, &code)));
    CASE("clCreateImage: unknown flag", CL_INVALID_VALUE,
        MADE(clCreateImage(here.context, (cl_mem_flags)1 << 40, &format, &desc, NULL, &code)));
    HANDLES("clCreateImageWithProperties", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateImageWithProperties(H, NULL, 0, &format, &desc, NULL, &code)));
    CASE("clCreateImageWithProperties: unknown property", CL_INVALID_PROPERTY,
        MADE(clCreateImageWithProperties(here.context, property, 0, &format, &desc, NULL, &code)));
    HANDLES("clCreateImage2D", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateImage2D(H, 0, &format, 8, 8, 0, NULL, &code)));
    CASE("clCreateImage2D: width 0", CL_INVALID_IMAGE_SIZE,
        MADE(clCreateImage2D(here.context, 0, &format, 0, 8, 0, NULL, &code)));
    HANDLES("clCreateImage3D", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateImage3D(H, 0, &format, 8, 8, 8, 0, 0, NULL, &code)));
    CASE("clCreateImage3D: depth 0", CL_INVALID_IMAGE_SIZE,
        MADE(clCreateImage3D(here.context, 0, &format, 8, 8, 0, 0, 0, NULL, &code)));
    HANDLES("clGetSupportedImageFormats", freed.context, CL_INVALID_CONTEXT,
        clGetSupportedImageFormats(H, 0, CL_MEM_OBJECT_IMAGE2D, 0, NULL, &count));
    CASE("clGetSupportedImageFormats: unknown type", CL_INVALID_VALUE,
        clGetSupportedImageFormats(here.context, CL_MEM_READ_WRITE, 0x7777, 0, NULL, &count));
    CASE("clGetSupportedImageFormats: array without entries", CL_INVALID_VALUE,
        clGetSupportedImageFormats(here.context, CL_MEM_READ_WRITE, CL_MEM_OBJECT_IMAGE2D, 0, &strange, &count));
    HANDLES("clGetImageInfo", freed.image, CL_INVALID_MEM_OBJECT,
        clGetImageInfo(H, CL_IMAGE_WIDTH, 0, NULL, NULL));
    CASE("clGetImageInfo: of a buffer", CL_INVALID_MEM_OBJECT,
        clGetImageInfo(here.buffer, CL_IMAGE_WIDTH, 0, NULL, NULL));
    QUERY("clGetImageInfo", CL_IMAGE_WIDTH, clGetImageInfo(here.image, param, size, value, size_ret));
    cl_sampler_properties strange_sampler[] = { 0x7777, 1, 0 };
    HANDLES("clCreateSampler", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateSampler(H, 0, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST, &code)));
    CASE("clCreateSampler: unknown addressing", CL_INVALID_VALUE,
        MADE(clCreateSampler(here.context, 0, 0x7777, CL_FILTER_NEAREST, &code)));
    CASE("clCreateSampler: unknown filter", CL_INVALID_VALUE,
        MADE(clCreateSampler(here.context, 0, CL_ADDRESS_CLAMP, 0x7777, &code)));
    HANDLES("clCreateSamplerWithProperties", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateSamplerWithProperties(H, NULL, &code)));
    CASE("clCreateSamplerWithProperties: unknown property", CL_INVALID_VALUE,
        MADE(clCreateSamplerWithProperties(here.context, strange_sampler, &code)));
    HANDLES("clRetainSampler", freed.sampler, CL_INVALID_SAMPLER, clRetainSampler(H));
    HANDLES("clReleaseSampler", freed.sampler, CL_INVALID_SAMPLER, clReleaseSampler(H));
    HANDLES("clGetSamplerInfo", freed.sampler, CL_INVALID_SAMPLER,
        clGetSamplerInfo(H, CL_SAMPLER_FILTER_MODE, 0, NULL, NULL));
    QUERY("clGetSamplerInfo", CL_SAMPLER_FILTER_MODE,
        clGetSamplerInfo(here.sampler, param, size, value, size_ret));
}

static void programs(void)
{
    const char *text = source, *null = NULL;
    const unsigned char *bytes = (const unsigned char *)"rubbish", *no_bytes = NULL;
    size_t length = 7, no_length = 0;
    cl_int status;
    cl_device_id none = NULL;
    cl_program no_program = NULL, unbuilt = here.raw;
    HANDLES("clCreateProgramWithSource", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateProgramWithSource(H, 1, &text, NULL, &code)));
    CASE("clCreateProgramWithSource: count 0", CL_INVALID_VALUE,
        MADE(clCreateProgramWithSource(here.context, 0, &text, NULL, &code)));
    CASE("clCreateProgramWithSource: no strings", CL_INVALID_VALUE,
        MADE(clCreateProgramWithSource(here.context, 1, NULL, NULL, &code)));
    CASE("clCreateProgramWithSource: NULL string", CL_INVALID_VALUE,
        MADE(clCreateProgramWithSource(here.context, 1, &null, NULL, &code)));
    HANDLES("clCreateProgramWithBinary", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateProgramWithBinary(H, 1, &device, &length, &bytes, NULL, &code)));
    CASE("clCreateProgramWithBinary: no devices", CL_INVALID_VALUE,
        MADE(clCreateProgramWithBinary(here.context, 0, NULL, &length, &bytes, &status, &code)));
    CASE("clCreateProgramWithBinary: NULL device", CL_INVALID_DEVICE,
        MADE(clCreateProgramWithBinary(here.context, 1, &none, &length, &bytes, &status, &code)));
    CASE("clCreateProgramWithBinary: no lengths", CL_INVALID_VALUE,
        MADE(clCreateProgramWithBinary(here.context, 1, &device, NULL, &bytes, &status, &code)));
    CASE("clCreateProgramWithBinary: length 0", CL_INVALID_VALUE,
        MADE(clCreateProgramWithBinary(here.context, 1, &device, &no_length, &bytes, &status, &code)));
    CASE("clCreateProgramWithBinary: no binaries", CL_INVALID_VALUE,
        MADE(clCreateProgramWithBinary(here.context, 1, &device, &length, NULL, &status, &code)));
    CASE("clCreateProgramWithBinary: NULL binary", CL_INVALID_VALUE,
        MADE(clCreateProgramWithBinary(here.context, 1, &device, &length, &no_bytes, &status, &code)));
    CASE("clCreateProgramWithBinary: rubbish", CL_INVALID_BINARY,
        MADE(clCreateProgramWithBinary(here.context, 1, &device, &length, &bytes, &status, &code)));
    CASE("clCreateProgramWithBinary: status of NULL binary", CL_INVALID_VALUE,
        ({ status = 7; clCreateProgramWithBinary(here.context, 1, &device, &length, &no_bytes, &status, NULL); status; }));
    CASE("clCreateProgramWithBinary: status of rubbish", CL_INVALID_BINARY,
        ({ status = 7; clCreateProgramWithBinary(here.context, 1, &device, &length, &bytes, &status, NULL); status; }));
    HANDLES("clCreateProgramWithBuiltInKernels", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateProgramWithBuiltInKernels(H, 1, &device, "k", &code)));
    CASE("clCreateProgramWithBuiltInKernels: no devices", CL_INVALID_VALUE,
        MADE(clCreateProgramWithBuiltInKernels(here.context, 0, NULL, "k", &code)));
    CASE("clCreateProgramWithBuiltInKernels: no names", CL_INVALID_VALUE,
        MADE(clCreateProgramWithBuiltInKernels(here.context, 1, &device, NULL, &code)));
    CASE("clCreateProgramWithBuiltInKernels: unknown name", CL_INVALID_VALUE,
        MADE(clCreateProgramWithBuiltInKernels(here.context, 1, &device, "no_such_kernel", &code)));
    CASE("clCreateProgramWithBuiltInKernels: NULL device", CL_INVALID_DEVICE,
        MADE(clCreateProgramWithBuiltInKernels(here.context, 1, &none, "k", &code)));
    HANDLES("clCreateProgramWithIL", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateProgramWithIL(H, "rubbish", 7, &code)));
    CASE("clCreateProgramWithIL: no device takes it", CL_INVALID_OPERATION,
        MADE(clCreateProgramWithIL(here.context, "rubbish", 7, &code)));
    CASE("clCreateProgramWithIL: nothing", CL_INVALID_OPERATION,
        MADE(clCreateProgramWithIL(here.context, NULL, 0, &code)));
    CASE("clCreateProgramWithIL: no length", CL_INVALID_OPERATION,
        MADE(clCreateProgramWithIL(here.context, "rubbish", 0, &code)));
    HANDLES("clSetProgramSpecializationConstant", freed.program, CL_INVALID_PROGRAM,
        clSetProgramSpecializationConstant(H, 1, 4, &length));
    size_t versions = 0;
    clGetDeviceInfo(device, CL_DEVICE_IL_VERSION, 0, NULL, &versions);
    CASE("clSetProgramSpecializationConstant: from source", versions > 1 ? CL_INVALID_PROGRAM : CL_INVALID_OPERATION,
        clSetProgramSpecializationConstant(here.raw, 1, 4, &length));
    HANDLES("clSetProgramReleaseCallback", freed.program, CL_INVALID_PROGRAM,
        clSetProgramReleaseCallback(H, on_program, NULL));
    CASE("clSetProgramReleaseCallback: no function, not supported", CL_INVALID_OPERATION,
        clSetProgramReleaseCallback(here.program, NULL, NULL));
    CASE("clSetProgramReleaseCallback: not supported", CL_INVALID_OPERATION,
        clSetProgramReleaseCallback(here.program, on_program, NULL));
    HANDLES("clRetainProgram", freed.program, CL_INVALID_PROGRAM, clRetainProgram(H));
    HANDLES("clReleaseProgram", freed.program, CL_INVALID_PROGRAM, clReleaseProgram(H));
    HANDLES("clBuildProgram", freed.program, CL_INVALID_PROGRAM, clBuildProgram(H, 0, NULL, NULL, NULL, NULL));
    CASE("clBuildProgram: count without list", CL_INVALID_VALUE, clBuildProgram(here.raw, 1, NULL, NULL, NULL, NULL));
    CASE("clBuildProgram: list without count", CL_INVALID_VALUE,
        clBuildProgram(here.raw, 0, &device, NULL, NULL, NULL));
    CASE("clBuildProgram: NULL device", CL_INVALID_DEVICE, clBuildProgram(here.raw, 1, &none, NULL, NULL, NULL));
    CASE("clBuildProgram: data without callback", CL_INVALID_VALUE,
        clBuildProgram(here.raw, 0, NULL, NULL, NULL, &status));
    CASE("clBuildProgram: bad option", CL_INVALID_BUILD_OPTIONS,
        clBuildProgram(here.raw, 0, NULL, "-no-such-option", NULL, NULL));
    CASE("clBuildProgram: with kernels", CL_INVALID_OPERATION,
        clBuildProgram(here.program, 0, NULL, NULL, NULL, NULL));
    CASE("clBuildProgram: not C", CL_BUILD_PROGRAM_FAILURE, ({
        const char *wrong = "not C";
        cl_program p = clCreateProgramWithSource(here.context, 1, &wrong, NULL, NULL);
        clBuildProgram(p, 0, NULL, NULL, NULL, NULL); }));
    /* An error as specified, but drivers do it. */
    CASE("clBuildProgram: of a linked program", CL_SUCCESS, ({
        cl_program p = clCreateProgramWithSource(here.context, 1, &text, NULL, NULL);
        MUST(clCompileProgram(p, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL));
        cl_program made = clLinkProgram(here.context, 0, NULL, NULL, 1, &p, NULL, NULL, NULL);
        clBuildProgram(made, 0, NULL, NULL, NULL, NULL); }));
    HANDLES("clCompileProgram", freed.program, CL_INVALID_PROGRAM,
        clCompileProgram(H, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL));
    CASE("clCompileProgram: list without count", CL_INVALID_VALUE,
        clCompileProgram(here.raw, 0, &device, NULL, 0, NULL, NULL, NULL, NULL));
    CASE("clCompileProgram: headers without names", CL_INVALID_VALUE,
        clCompileProgram(here.raw, 0, NULL, NULL, 1, &here.program, NULL, NULL, NULL));
    CASE("clCompileProgram: names without headers", CL_INVALID_VALUE,
        clCompileProgram(here.raw, 0, NULL, NULL, 0, NULL, &text, NULL, NULL));
    CASE("clCompileProgram: NULL header", CL_INVALID_PROGRAM,
        clCompileProgram(here.raw, 0, NULL, NULL, 1, &no_program, &text, NULL, NULL));
    CASE("clCompileProgram: data without callback", CL_INVALID_VALUE,
        clCompileProgram(here.raw, 0, NULL, NULL, 0, NULL, NULL, NULL, &status));
    CASE("clCompileProgram: bad option", CL_INVALID_COMPILER_OPTIONS,
        clCompileProgram(here.raw, 0, NULL, "-no-such-option", 0, NULL, NULL, NULL, NULL));
    CASE("clCompileProgram: with kernels", CL_INVALID_OPERATION,
        clCompileProgram(here.program, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL));
    HANDLES("clLinkProgram", freed.context, CL_INVALID_CONTEXT,
        MADE(clLinkProgram(H, 0, NULL, NULL, 1, &here.raw, NULL, NULL, &code)));
    CASE("clLinkProgram: no programs", CL_INVALID_VALUE,
        MADE(clLinkProgram(here.context, 0, NULL, NULL, 0, NULL, NULL, NULL, &code)));
    CASE("clLinkProgram: NULL program", CL_INVALID_PROGRAM,
        MADE(clLinkProgram(here.context, 0, NULL, NULL, 1, &no_program, NULL, NULL, &code)));
    CASE("clLinkProgram: never compiled", CL_INVALID_OPERATION,
        MADE(clLinkProgram(here.context, 0, NULL, NULL, 1, &unbuilt, NULL, NULL, &code)));
    CASE("clLinkProgram: data without callback", CL_INVALID_VALUE,
        MADE(clLinkProgram(here.context, 0, NULL, NULL, 1, &here.raw, NULL, &status, &code)));
    CASE("clLinkProgram: list without count", CL_INVALID_VALUE,
        MADE(clLinkProgram(here.context, 0, &device, NULL, 1, &here.raw, NULL, NULL, &code)));
    CASE("clLinkProgram: missing function", CL_LINK_PROGRAM_FAILURE, ({
        const char *calls = "int absent(int); __kernel void m(__global int *a) { a[0] = absent(a[1]); }";
        cl_program p = clCreateProgramWithSource(here.context, 1, &calls, NULL, NULL);
        MUST(clCompileProgram(p, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL));
        cl_int code = 7; clLinkProgram(here.context, 0, NULL, NULL, 1, &p, NULL, NULL, &code); code; }));
    HANDLES("clGetProgramInfo", freed.program, CL_INVALID_PROGRAM,
        clGetProgramInfo(H, CL_PROGRAM_SOURCE, 0, NULL, NULL));
    QUERY("clGetProgramInfo", CL_PROGRAM_SOURCE, clGetProgramInfo(here.program, param, size, value, size_ret));
    QUERY("clGetProgramInfo binaries", CL_PROGRAM_BINARY_SIZES,
        clGetProgramInfo(here.program, param, size, value, size_ret));
    CASE("clGetProgramInfo: kernels of a program not built", CL_INVALID_PROGRAM_EXECUTABLE,
        clGetProgramInfo(here.raw, CL_PROGRAM_NUM_KERNELS, sizeof length, &length, NULL));
    HANDLES("clGetProgramBuildInfo program", freed.program, CL_INVALID_PROGRAM,
        clGetProgramBuildInfo(H, device, CL_PROGRAM_BUILD_STATUS, 0, NULL, NULL));
    HANDLES("clGetProgramBuildInfo device", (void *)8, CL_INVALID_DEVICE,
        clGetProgramBuildInfo(here.program, H, CL_PROGRAM_BUILD_STATUS, 0, NULL, NULL));
    QUERY("clGetProgramBuildInfo", CL_PROGRAM_BUILD_STATUS,
        clGetProgramBuildInfo(here.program, device, param, size, value, size_ret));
}

static void kernels(void)
{
    cl_uint count;
    cl_kernel room[2];
    int value4 = 3;
    size_t sizes[3];
    HANDLES("clCreateKernel", freed.program, CL_INVALID_PROGRAM, MADE(clCreateKernel(H, "k", &code)));
    CASE("clCreateKernel: no name", CL_INVALID_VALUE, MADE(clCreateKernel(here.program, NULL, &code)));
    CASE("clCreateKernel: unknown name", CL_INVALID_KERNEL_NAME, MADE(clCreateKernel(here.program, "x", &code)));
    CASE("clCreateKernel: program not built", CL_INVALID_PROGRAM_EXECUTABLE, ({
        const char *text = source;
        cl_program p = clCreateProgramWithSource(here.context, 1, &text, NULL, NULL);
        MADE(clCreateKernel(p, "k", &code)); }));
    HANDLES("clCreateKernelsInProgram", freed.program, CL_INVALID_PROGRAM,
        clCreateKernelsInProgram(H, 0, NULL, &count));
    CASE("clCreateKernelsInProgram: no room", CL_INVALID_VALUE,
        clCreateKernelsInProgram(here.program, 0, room, &count));
    CASE("clCreateKernelsInProgram: nothing wanted", CL_SUCCESS,
        clCreateKernelsInProgram(here.program, 0, NULL, NULL));
    CASE("clCreateKernelsInProgram: program without kernels", CL_SUCCESS, ({
        const char *text = "int twice(int a) { return 2 * a; }";
        cl_program p = clCreateProgramWithSource(here.context, 1, &text, NULL, NULL);
        MUST(clBuildProgram(p, 0, NULL, NULL, NULL, NULL));
        clCreateKernelsInProgram(p, 2, room, &count); }));
    CASE("clCreateKernelsInProgram: program not built", CL_INVALID_PROGRAM_EXECUTABLE, ({
        const char *text = source;
        cl_program p = clCreateProgramWithSource(here.context, 1, &text, NULL, NULL);
        clCreateKernelsInProgram(p, 2, room, &count); }));
    HANDLES("clCloneKernel", freed.kernel, CL_INVALID_KERNEL, MADE(clCloneKernel(H, &code)));
    HANDLES("clRetainKernel", freed.kernel, CL_INVALID_KERNEL, clRetainKernel(H));
    HANDLES("clReleaseKernel", freed.kernel, CL_INVALID_KERNEL, clReleaseKernel(H));
    HANDLES("clSetKernelArg", freed.kernel, CL_INVALID_KERNEL, clSetKernelArg(H, 1, 4, &value4));
    CASE("clSetKernelArg: unknown index", CL_INVALID_ARG_INDEX, clSetKernelArg(here.kernel, 3, 4, &value4));
    CASE("clSetKernelArg: no value", CL_INVALID_ARG_VALUE, clSetKernelArg(here.kernel, 1, 4, NULL));
    CASE("clSetKernelArg: wrong size", CL_INVALID_ARG_SIZE, clSetKernelArg(here.kernel, 1, 8, room));
    CASE("clSetKernelArg: wrong size of a buffer", CL_INVALID_ARG_SIZE,
        clSetKernelArg(here.kernel, 0, 4, &here.buffer));
    cl_mem pair[2] = {here.buffer, NULL};
    CASE("clSetKernelArg: twice the size of a buffer", CL_INVALID_ARG_SIZE,
        clSetKernelArg(here.kernel, 0, sizeof pair, pair));
    CASE("clSetKernelArg: value for local memory", CL_INVALID_ARG_VALUE,
        clSetKernelArg(here.kernel, 2, 64, &value4));
    CASE("clSetKernelArg: no local memory", CL_INVALID_ARG_SIZE, clSetKernelArg(here.kernel, 2, 0, NULL));
    CASE("clSetKernelArg: NULL buffer", CL_SUCCESS, ({ cl_mem none = NULL;
        clSetKernelArg(here.kernel, 0, sizeof none, &none); }));
    CASE("clSetKernelArg: no buffer", CL_SUCCESS, clSetKernelArg(here.kernel, 0, sizeof(cl_mem), NULL));
    if (begin(1, "clSetKernelArg: freed buffer", CL_INVALID_MEM_OBJECT))
        end(clSetKernelArg(here.kernel, 0, sizeof(cl_mem), &freed.buffer));
    HANDLES("clSetKernelArgSVMPointer", freed.kernel, CL_INVALID_KERNEL, clSetKernelArgSVMPointer(H, 0, &value4));
    HANDLES("clSetKernelExecInfo", freed.kernel, CL_INVALID_KERNEL,
        clSetKernelExecInfo(H, CL_KERNEL_EXEC_INFO_SVM_PTRS, 8, room));
    CASE("clSetKernelExecInfo: unknown parameter", CL_INVALID_VALUE, clSetKernelExecInfo(here.kernel, 0x7777, 8, room));
    CASE("clSetKernelExecInfo: no value", CL_INVALID_VALUE,
        clSetKernelExecInfo(here.kernel, CL_KERNEL_EXEC_INFO_SVM_PTRS, 8, NULL));
    HANDLES("clGetKernelInfo", freed.kernel, CL_INVALID_KERNEL,
        clGetKernelInfo(H, CL_KERNEL_NUM_ARGS, 0, NULL, NULL));
    QUERY("clGetKernelInfo", CL_KERNEL_NUM_ARGS, clGetKernelInfo(here.kernel, param, size, value, size_ret));
    HANDLES("clGetKernelArgInfo", freed.kernel, CL_INVALID_KERNEL,
        clGetKernelArgInfo(H, 0, CL_KERNEL_ARG_NAME, 0, NULL, NULL));
    CASE("clGetKernelArgInfo: unknown index", CL_INVALID_ARG_INDEX,
        clGetKernelArgInfo(here.kernel, 3, CL_KERNEL_ARG_NAME, 0, NULL, NULL));
    QUERY("clGetKernelArgInfo", CL_KERNEL_ARG_NAME,
        clGetKernelArgInfo(here.kernel, 0, param, size, value, size_ret));
    HANDLES("clGetKernelWorkGroupInfo kernel", freed.kernel, CL_INVALID_KERNEL,
        clGetKernelWorkGroupInfo(H, device, CL_KERNEL_WORK_GROUP_SIZE, 0, NULL, NULL));
    if (begin(1, "clGetKernelWorkGroupInfo: wrong device", CL_INVALID_DEVICE))
        end(clGetKernelWorkGroupInfo(here.kernel, (cl_device_id)here.buffer, CL_KERNEL_WORK_GROUP_SIZE, 0, NULL, NULL));
    QUERY("clGetKernelWorkGroupInfo", CL_KERNEL_WORK_GROUP_SIZE,
        clGetKernelWorkGroupInfo(here.kernel, device, param, size, value, size_ret));
    HANDLES("clGetKernelSubGroupInfo", freed.kernel, CL_INVALID_KERNEL,
        clGetKernelSubGroupInfo(H, device, CL_KERNEL_MAX_NUM_SUB_GROUPS, 0, NULL, 0, NULL, NULL));
    QUERY("clGetKernelSubGroupInfo", CL_KERNEL_MAX_NUM_SUB_GROUPS,
        clGetKernelSubGroupInfo(here.kernel, device, param, 0, NULL, size, value, size_ret));
    CASE("clGetKernelSubGroupInfo: no input", CL_INVALID_VALUE, clGetKernelSubGroupInfo(here.kernel, device,
        CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE, 0, NULL, sizeof sizes, sizes, NULL));
}

typedef cl_int (*suggest_t)(cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, size_t *);

static void suggested_sizes(void)
{
    /* Not every loader exports it. */
    suggest_t suggest = (suggest_t)dlsym(RTLD_DEFAULT, "clGetKernelSuggestedLocalWorkSize");
    size_t got[3];
    if (!wild || !suggest)
        return;
    HANDLES("clGetKernelSuggestedLocalWorkSize queue", freed.queue, CL_INVALID_COMMAND_QUEUE,
        suggest(H, here.kernel, 1, NULL, one, got));
    HANDLES("clGetKernelSuggestedLocalWorkSize kernel", freed.kernel, CL_INVALID_KERNEL,
        suggest(here.queue, H, 1, NULL, one, got));
    CASE("clGetKernelSuggestedLocalWorkSize: no room", CL_INVALID_VALUE,
        suggest(here.queue, here.kernel, 1, NULL, one, NULL));
    CASE("clGetKernelSuggestedLocalWorkSize: no global size", CL_INVALID_GLOBAL_WORK_SIZE,
        suggest(here.queue, here.kernel, 1, NULL, NULL, got));
}

static void execution(void)
{
    size_t items = 1, none = 0, group = 1 << 30;
    cl_event *no_event = NULL;
    cl_mem buffer = here.buffer;
    int value4 = 3;
    MUST(clSetKernelArg(here.kernel, 0, sizeof buffer, &buffer));
    MUST(clSetKernelArg(here.kernel, 1, 4, &value4));
    MUST(clSetKernelArg(here.kernel, 2, 64, NULL));
    HANDLES("clEnqueueNDRangeKernel queue", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueNDRangeKernel(H, here.kernel, 1, NULL, &items, NULL, 0, NULL, NULL));
    HANDLES("clEnqueueNDRangeKernel kernel", freed.kernel, CL_INVALID_KERNEL,
        clEnqueueNDRangeKernel(here.queue, H, 1, NULL, &items, NULL, 0, NULL, NULL));
    WAIT_LISTS("clEnqueueNDRangeKernel",
        clEnqueueNDRangeKernel(here.queue, here.kernel, 1, NULL, &items, NULL, n, list, no_event));
    CASE("clEnqueueNDRangeKernel: kernel of another context", CL_INVALID_CONTEXT,
        clEnqueueNDRangeKernel(here.queue, away.kernel, 1, NULL, &items, NULL, 0, NULL, NULL));
    CASE("clEnqueueNDRangeKernel: no dimension", CL_INVALID_WORK_DIMENSION,
        clEnqueueNDRangeKernel(here.queue, here.kernel, 0, NULL, &items, NULL, 0, NULL, NULL));
    CASE("clEnqueueNDRangeKernel: 4 dimensions", CL_INVALID_WORK_DIMENSION,
        clEnqueueNDRangeKernel(here.queue, here.kernel, 4, NULL, huge, NULL, 0, NULL, NULL));
    CASE("clEnqueueNDRangeKernel: no global size", CL_INVALID_GLOBAL_WORK_SIZE,
        clEnqueueNDRangeKernel(here.queue, here.kernel, 1, NULL, NULL, NULL, 0, NULL, NULL));
    CASE("clEnqueueNDRangeKernel: local size 0", CL_INVALID_WORK_GROUP_SIZE,
        clEnqueueNDRangeKernel(here.queue, here.kernel, 1, NULL, &items, &none, 0, NULL, NULL));
    CASE("clEnqueueNDRangeKernel: local size too large", CL_INVALID_WORK_ITEM_SIZE,
        clEnqueueNDRangeKernel(here.queue, here.kernel, 1, NULL, &group, &group, 0, NULL, NULL));
    CASE("clEnqueueNDRangeKernel: arguments not set", CL_INVALID_KERNEL_ARGS, ({
        cl_kernel k = clCreateKernel(here.program, "k", NULL);
        clEnqueueNDRangeKernel(here.queue, k, 1, NULL, &items, NULL, 0, NULL, NULL); }));
    HANDLES("clEnqueueTask queue", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueTask(H, here.kernel, 0, NULL, NULL));
    HANDLES("clEnqueueTask kernel", freed.kernel, CL_INVALID_KERNEL, clEnqueueTask(here.queue, H, 0, NULL, NULL));
    WAIT_LISTS("clEnqueueTask", clEnqueueTask(here.queue, here.kernel, n, list, no_event));
    HANDLES("clEnqueueNativeKernel", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueNativeKernel(H, on_nothing, NULL, 0, 0, NULL, NULL, 0, NULL, NULL));
    CASE("clEnqueueNativeKernel: no function", CL_INVALID_VALUE,
        clEnqueueNativeKernel(here.queue, NULL, NULL, 0, 0, NULL, NULL, 0, NULL, NULL));
    CASE("clEnqueueNativeKernel: size without arguments", CL_INVALID_VALUE,
        clEnqueueNativeKernel(here.queue, on_nothing, NULL, 8, 0, NULL, NULL, 0, NULL, NULL));
    CASE("clEnqueueNativeKernel: objects without list", CL_INVALID_VALUE,
        clEnqueueNativeKernel(here.queue, on_nothing, &items, 8, 1, NULL, NULL, 0, NULL, NULL));
    HANDLES("clEnqueueMarker", freed.queue, CL_INVALID_COMMAND_QUEUE, ({ cl_event e; clEnqueueMarker(H, &e); }));
    CASE("clEnqueueMarker: no event", CL_INVALID_VALUE, clEnqueueMarker(here.queue, NULL));
    HANDLES("clEnqueueBarrier", freed.queue, CL_INVALID_COMMAND_QUEUE, clEnqueueBarrier(H));
    HANDLES("clEnqueueWaitForEvents", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueWaitForEvents(H, 1, &here.marker));
    CASE("clEnqueueWaitForEvents: no events", CL_INVALID_VALUE, clEnqueueWaitForEvents(here.queue, 0, NULL));
    CASE("clEnqueueWaitForEvents: events without list", CL_INVALID_VALUE, clEnqueueWaitForEvents(here.queue, 1, NULL));
    CASE("clEnqueueWaitForEvents: NULL event", CL_INVALID_EVENT, ({ cl_event e = NULL;
        clEnqueueWaitForEvents(here.queue, 1, &e); }));
    CASE("clEnqueueWaitForEvents: of another context", CL_INVALID_CONTEXT,
        clEnqueueWaitForEvents(here.queue, 1, &away.marker));
    HANDLES("clEnqueueMarkerWithWaitList", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueMarkerWithWaitList(H, 0, NULL, NULL));
    WAIT_LISTS("clEnqueueMarkerWithWaitList", clEnqueueMarkerWithWaitList(here.queue, n, list, no_event));
    HANDLES("clEnqueueBarrierWithWaitList", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueBarrierWithWaitList(H, 0, NULL, NULL));
    WAIT_LISTS("clEnqueueBarrierWithWaitList", clEnqueueBarrierWithWaitList(here.queue, n, list, no_event));
}

/* Every enqueue of a transfer takes the same kinds of bad arguments; Q, M, n and list stand for them. The freed object's
 * name tells its kind: there is one only in "wild" runs. */
#define LIKE(freed_object, objects) (strcmp(#freed_object, "freed.image") ? objects.buffer : objects.image)
#define TRANSFER(what, freed_object, call) do { \
        { cl_mem M = here.buffer; cl_uint n = 0; const cl_event *list = NULL; (void)M; \
          HANDLES(what " queue", freed.queue, CL_INVALID_COMMAND_QUEUE, ({ cl_command_queue Q = H; call; })); } \
        { cl_command_queue Q = here.queue; cl_uint n = 0; const cl_event *list = NULL; \
          HANDLES(what " object", freed_object, CL_INVALID_MEM_OBJECT, ({ cl_mem M = H; call; })); } \
        { cl_command_queue Q = here.queue; \
          cl_mem M = LIKE(freed_object, here); \
          WAIT_LISTS(what, call); } \
        { cl_command_queue Q = here.queue; cl_uint n = 0; const cl_event *list = NULL; \
          cl_mem M = LIKE(freed_object, away); \
          CASE(what ": object of another context", CL_INVALID_CONTEXT, call); } \
    } while (0)

static void buffer_transfers(void)
{
    static char host[8192];
    cl_command_queue q = here.queue;
    cl_mem b = here.buffer, o = here.other;
    int pattern = 1;
    cl_int map_code;
    void *mapped = clEnqueueMapBuffer(q, b, 1, CL_MAP_READ, 0, 4, 0, NULL, NULL, &map_code);
    TRANSFER("clEnqueueReadBuffer", freed.buffer, clEnqueueReadBuffer(Q, M, 1, 0, 4, host, n, list, NULL));
    TRANSFER("clEnqueueWriteBuffer", freed.buffer, clEnqueueWriteBuffer(Q, M, 1, 0, 4, host, n, list, NULL));
    TRANSFER("clEnqueueCopyBuffer from", freed.buffer, clEnqueueCopyBuffer(Q, M, o, 0, 0, 4, n, list, NULL));
    TRANSFER("clEnqueueCopyBuffer to", freed.buffer, clEnqueueCopyBuffer(Q, o, M, 0, 0, 4, n, list, NULL));
    TRANSFER("clEnqueueFillBuffer", freed.buffer, clEnqueueFillBuffer(Q, M, &pattern, 4, 0, 4, n, list, NULL));
    TRANSFER("clEnqueueReadBufferRect", freed.buffer,
        clEnqueueReadBufferRect(Q, M, 1, zero, zero, one, 0, 0, 0, 0, host, n, list, NULL));
    TRANSFER("clEnqueueWriteBufferRect", freed.buffer,
        clEnqueueWriteBufferRect(Q, M, 1, zero, zero, one, 0, 0, 0, 0, host, n, list, NULL));
    TRANSFER("clEnqueueCopyBufferRect", freed.buffer,
        clEnqueueCopyBufferRect(Q, M, o, zero, zero, one, 0, 0, 0, 0, n, list, NULL));
    TRANSFER("clEnqueueMigrateMemObjects", freed.buffer, clEnqueueMigrateMemObjects(Q, 1, &M, 0, n, list, NULL));
    TRANSFER("clEnqueueMapBuffer", freed.buffer,
        (clEnqueueMapBuffer(Q, M, 1, CL_MAP_READ, 0, 4, n, list, NULL, &map_code), map_code));
    TRANSFER("clEnqueueUnmapMemObject", freed.buffer, clEnqueueUnmapMemObject(Q, M, mapped, n, list, NULL));

    CASE("clEnqueueReadBuffer: no memory", CL_INVALID_VALUE, clEnqueueReadBuffer(q, b, 1, 0, 4, NULL, 0, NULL, NULL));
    CASE("clEnqueueReadBuffer: outside", CL_INVALID_VALUE, clEnqueueReadBuffer(q, b, 1, 4095, 2, host, 0, NULL, NULL));
    CASE("clEnqueueReadBuffer: size 0", CL_INVALID_VALUE, clEnqueueReadBuffer(q, b, 1, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueReadBuffer: sum overflows", CL_INVALID_VALUE,
        clEnqueueReadBuffer(q, b, 1, 8, (size_t)-4, host, 0, NULL, NULL));
    CASE("clEnqueueReadBuffer: of an image", CL_INVALID_MEM_OBJECT,
        clEnqueueReadBuffer(q, here.image, 1, 0, 4, host, 0, NULL, NULL));
    CASE("clEnqueueWriteBuffer: no memory", CL_INVALID_VALUE,
        clEnqueueWriteBuffer(q, b, 1, 0, 4, NULL, 0, NULL, NULL));
    CASE("clEnqueueWriteBuffer: outside", CL_INVALID_VALUE,
        clEnqueueWriteBuffer(q, b, 1, 4095, 2, host, 0, NULL, NULL));
    CASE("clEnqueueWriteBuffer: size 0", CL_INVALID_VALUE, clEnqueueWriteBuffer(q, b, 1, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueWriteBuffer: to an image", CL_INVALID_MEM_OBJECT,
        clEnqueueWriteBuffer(q, here.image, 1, 0, 4, host, 0, NULL, NULL));
    CASE("clEnqueueCopyBuffer: outside", CL_INVALID_VALUE, clEnqueueCopyBuffer(q, b, o, 4095, 0, 2, 0, NULL, NULL));
    CASE("clEnqueueCopyBuffer: size 0", CL_INVALID_VALUE, clEnqueueCopyBuffer(q, b, o, 0, 0, 0, 0, NULL, NULL));
    CASE("clEnqueueCopyBuffer: overlap", CL_MEM_COPY_OVERLAP, clEnqueueCopyBuffer(q, b, b, 0, 8, 16, 0, NULL, NULL));
    CASE("clEnqueueCopyBuffer: from an image", CL_INVALID_MEM_OBJECT,
        clEnqueueCopyBuffer(q, here.image, o, 0, 0, 4, 0, NULL, NULL));
    CASE("clEnqueueFillBuffer: no pattern", CL_INVALID_VALUE, clEnqueueFillBuffer(q, b, NULL, 4, 0, 4, 0, NULL, NULL));
    CASE("clEnqueueFillBuffer: pattern size 0", CL_INVALID_VALUE,
        clEnqueueFillBuffer(q, b, &pattern, 0, 0, 4, 0, NULL, NULL));
    CASE("clEnqueueFillBuffer: pattern size 3", CL_INVALID_VALUE,
        clEnqueueFillBuffer(q, b, &pattern, 3, 0, 6, 0, NULL, NULL));
    CASE("clEnqueueFillBuffer: odd offset", CL_INVALID_VALUE,
        clEnqueueFillBuffer(q, b, &pattern, 4, 2, 4, 0, NULL, NULL));
    CASE("clEnqueueFillBuffer: odd size", CL_INVALID_VALUE,
        clEnqueueFillBuffer(q, b, &pattern, 4, 0, 6, 0, NULL, NULL));
    CASE("clEnqueueFillBuffer: outside", CL_INVALID_VALUE,
        clEnqueueFillBuffer(q, b, &pattern, 4, 4096, 4, 0, NULL, NULL));
    CASE("clEnqueueFillBuffer: an image", CL_INVALID_MEM_OBJECT,
        clEnqueueFillBuffer(q, here.image, &pattern, 4, 0, 4, 0, NULL, NULL));
    CASE("clEnqueueReadBufferRect: no origin", CL_INVALID_VALUE,
        clEnqueueReadBufferRect(q, b, 1, NULL, zero, one, 0, 0, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueReadBufferRect: no region", CL_INVALID_VALUE,
        clEnqueueReadBufferRect(q, b, 1, zero, zero, NULL, 0, 0, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueReadBufferRect: empty region", CL_INVALID_VALUE,
        clEnqueueReadBufferRect(q, b, 1, zero, zero, empty, 0, 0, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueReadBufferRect: outside", CL_INVALID_VALUE,
        clEnqueueReadBufferRect(q, b, 1, zero, zero, huge, 0, 0, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueReadBufferRect: no memory", CL_INVALID_VALUE,
        clEnqueueReadBufferRect(q, b, 1, zero, zero, one, 0, 0, 0, 0, NULL, 0, NULL, NULL));
    CASE("clEnqueueReadBufferRect: pitch below the row", CL_INVALID_VALUE, ({ size_t wide[3] = { 8, 2, 1 };
        clEnqueueReadBufferRect(q, b, 1, zero, zero, wide, 4, 0, 0, 0, host, 0, NULL, NULL); }));
    CASE("clEnqueueWriteBufferRect: outside", CL_INVALID_VALUE,
        clEnqueueWriteBufferRect(q, b, 1, zero, zero, huge, 0, 0, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueWriteBufferRect: no memory", CL_INVALID_VALUE,
        clEnqueueWriteBufferRect(q, b, 1, zero, zero, one, 0, 0, 0, 0, NULL, 0, NULL, NULL));
    CASE("clEnqueueCopyBufferRect: no region", CL_INVALID_VALUE,
        clEnqueueCopyBufferRect(q, b, o, zero, zero, NULL, 0, 0, 0, 0, 0, NULL, NULL));
    CASE("clEnqueueCopyBufferRect: outside", CL_INVALID_VALUE,
        clEnqueueCopyBufferRect(q, b, o, zero, zero, huge, 0, 0, 0, 0, 0, NULL, NULL));
    CASE("clEnqueueCopyBufferRect: overlap", CL_MEM_COPY_OVERLAP,
        clEnqueueCopyBufferRect(q, b, b, zero, zero, one, 0, 0, 0, 0, 0, NULL, NULL));
    CASE("clEnqueueMigrateMemObjects: no objects", CL_INVALID_VALUE,
        clEnqueueMigrateMemObjects(q, 0, NULL, 0, 0, NULL, NULL));
    CASE("clEnqueueMigrateMemObjects: count without list", CL_INVALID_VALUE,
        clEnqueueMigrateMemObjects(q, 1, NULL, 0, 0, NULL, NULL));
    CASE("clEnqueueMigrateMemObjects: list without count", CL_INVALID_VALUE,
        clEnqueueMigrateMemObjects(q, 0, &b, 0, 0, NULL, NULL));
    CASE("clEnqueueMigrateMemObjects: unknown flag", CL_INVALID_VALUE,
        clEnqueueMigrateMemObjects(q, 1, &b, 1u << 20, 0, NULL, NULL));
    CASE("clEnqueueMapBuffer: outside", CL_INVALID_VALUE,
        MADE(clEnqueueMapBuffer(q, b, 1, CL_MAP_READ, 4095, 2, 0, NULL, NULL, &code)));
    CASE("clEnqueueMapBuffer: size 0", CL_INVALID_VALUE,
        MADE(clEnqueueMapBuffer(q, b, 1, CL_MAP_READ, 0, 0, 0, NULL, NULL, &code)));
    CASE("clEnqueueMapBuffer: unknown flag", CL_INVALID_VALUE,
        MADE(clEnqueueMapBuffer(q, b, 1, 1u << 20, 0, 4, 0, NULL, NULL, &code)));
    CASE("clEnqueueMapBuffer: of an image", CL_INVALID_MEM_OBJECT,
        MADE(clEnqueueMapBuffer(q, here.image, 1, CL_MAP_READ, 0, 4, 0, NULL, NULL, &code)));
    CASE("clEnqueueMapBuffer: write invalidating and reading", CL_INVALID_VALUE, MADE(clEnqueueMapBuffer(q, b, 1,
        CL_MAP_READ | CL_MAP_WRITE_INVALIDATE_REGION, 0, 4, 0, NULL, NULL, &code)));
    CASE("clEnqueueUnmapMemObject: not mapped", CL_INVALID_VALUE,
        clEnqueueUnmapMemObject(q, b, host, 0, NULL, NULL));
    CASE("clEnqueueUnmapMemObject: no memory", CL_INVALID_VALUE, clEnqueueUnmapMemObject(q, b, NULL, 0, NULL, NULL));
    cl_mem secret = clCreateBuffer(here.context, CL_MEM_HOST_NO_ACCESS, 64, NULL, NULL);
    cl_mem written = clCreateBuffer(here.context, CL_MEM_HOST_WRITE_ONLY, 64, NULL, NULL);
    cl_mem shown = clCreateBuffer(here.context, CL_MEM_HOST_READ_ONLY, 64, NULL, NULL);
    CASE("clEnqueueReadBuffer: no host access", CL_INVALID_OPERATION,
        clEnqueueReadBuffer(q, secret, 1, 0, 4, host, 0, NULL, NULL));
    CASE("clEnqueueReadBuffer: host writes only", CL_INVALID_OPERATION,
        clEnqueueReadBuffer(q, written, 1, 0, 4, host, 0, NULL, NULL));
    CASE("clEnqueueWriteBuffer: host reads only", CL_INVALID_OPERATION,
        clEnqueueWriteBuffer(q, shown, 1, 0, 4, host, 0, NULL, NULL));
    CASE("clEnqueueReadBufferRect: no host access", CL_INVALID_OPERATION,
        clEnqueueReadBufferRect(q, secret, 1, zero, zero, one, 0, 0, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueWriteBufferRect: host reads only", CL_INVALID_OPERATION,
        clEnqueueWriteBufferRect(q, shown, 1, zero, zero, one, 0, 0, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueMapBuffer: no host access", CL_INVALID_OPERATION,
        MADE(clEnqueueMapBuffer(q, secret, 1, CL_MAP_READ, 0, 4, 0, NULL, NULL, &code)));
    CASE("clEnqueueMapBuffer: host reads only", CL_INVALID_OPERATION,
        MADE(clEnqueueMapBuffer(q, shown, 1, CL_MAP_WRITE, 0, 4, 0, NULL, NULL, &code)));
}

static void image_transfers(void)
{
    static char host[8192];
    cl_command_queue q = here.queue;
    cl_mem b = here.buffer, i = here.image;
    float color[4] = { 0 };
    size_t row, slice, last[3] = { 7, 7, 0 }, two[3] = { 2, 2, 1 };
    cl_int map_code;
    TRANSFER("clEnqueueReadImage", freed.image, clEnqueueReadImage(Q, M, 1, zero, one, 0, 0, host, n, list, NULL));
    TRANSFER("clEnqueueWriteImage", freed.image, clEnqueueWriteImage(Q, M, 1, zero, one, 0, 0, host, n, list, NULL));
    TRANSFER("clEnqueueCopyImage", freed.image, clEnqueueCopyImage(Q, M, i, last, zero, one, n, list, NULL));
    TRANSFER("clEnqueueFillImage", freed.image, clEnqueueFillImage(Q, M, color, zero, one, n, list, NULL));
    TRANSFER("clEnqueueCopyImageToBuffer", freed.image,
        clEnqueueCopyImageToBuffer(Q, M, b, zero, one, 0, n, list, NULL));
    TRANSFER("clEnqueueCopyBufferToImage", freed.image,
        clEnqueueCopyBufferToImage(Q, b, M, 0, zero, one, n, list, NULL));
    TRANSFER("clEnqueueMapImage", freed.image,
        (clEnqueueMapImage(Q, M, 1, CL_MAP_READ, zero, one, &row, &slice, n, list, NULL, &map_code), map_code));

    CASE("clEnqueueReadImage: no memory", CL_INVALID_VALUE,
        clEnqueueReadImage(q, i, 1, zero, one, 0, 0, NULL, 0, NULL, NULL));
    CASE("clEnqueueReadImage: no origin", CL_INVALID_VALUE,
        clEnqueueReadImage(q, i, 1, NULL, one, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueReadImage: no region", CL_INVALID_VALUE,
        clEnqueueReadImage(q, i, 1, zero, NULL, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueReadImage: outside", CL_INVALID_VALUE,
        clEnqueueReadImage(q, i, 1, last, two, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueReadImage: empty region", CL_INVALID_VALUE,
        clEnqueueReadImage(q, i, 1, zero, empty, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueReadImage: pitch below the row", CL_INVALID_VALUE,
        clEnqueueReadImage(q, i, 1, zero, two, 4, 0, host, 0, NULL, NULL));
    CASE("clEnqueueReadImage: of a buffer", CL_INVALID_MEM_OBJECT,
        clEnqueueReadImage(q, b, 1, zero, one, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueWriteImage: no memory", CL_INVALID_VALUE,
        clEnqueueWriteImage(q, i, 1, zero, one, 0, 0, NULL, 0, NULL, NULL));
    CASE("clEnqueueWriteImage: outside", CL_INVALID_VALUE,
        clEnqueueWriteImage(q, i, 1, last, two, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueWriteImage: to a buffer", CL_INVALID_MEM_OBJECT,
        clEnqueueWriteImage(q, b, 1, zero, one, 0, 0, host, 0, NULL, NULL));
    CASE("clEnqueueCopyImage: outside", CL_INVALID_VALUE,
        clEnqueueCopyImage(q, i, i, last, zero, two, 0, NULL, NULL));
    CASE("clEnqueueCopyImage: overlap", CL_MEM_COPY_OVERLAP, clEnqueueCopyImage(q, i, i, zero, zero, two, 0, NULL, NULL));
    CASE("clEnqueueCopyImage: from a buffer", CL_INVALID_MEM_OBJECT,
        clEnqueueCopyImage(q, b, i, zero, zero, one, 0, NULL, NULL));
    CASE("clEnqueueFillImage: no color", CL_INVALID_VALUE, clEnqueueFillImage(q, i, NULL, zero, one, 0, NULL, NULL));
    CASE("clEnqueueFillImage: outside", CL_INVALID_VALUE, clEnqueueFillImage(q, i, color, last, two, 0, NULL, NULL));
    CASE("clEnqueueFillImage: a buffer", CL_INVALID_MEM_OBJECT,
        clEnqueueFillImage(q, b, color, zero, one, 0, NULL, NULL));
    CASE("clEnqueueCopyImageToBuffer: beyond the buffer", CL_INVALID_VALUE,
        clEnqueueCopyImageToBuffer(q, i, b, zero, two, 4095, 0, NULL, NULL));
    CASE("clEnqueueCopyImageToBuffer: to an image", CL_INVALID_MEM_OBJECT,
        clEnqueueCopyImageToBuffer(q, i, i, zero, two, 0, 0, NULL, NULL));
    CASE("clEnqueueCopyBufferToImage: beyond the buffer", CL_INVALID_VALUE,
        clEnqueueCopyBufferToImage(q, b, i, 4095, zero, two, 0, NULL, NULL));
    CASE("clEnqueueCopyBufferToImage: from an image", CL_INVALID_MEM_OBJECT,
        clEnqueueCopyBufferToImage(q, i, i, 0, zero, two, 0, NULL, NULL));
    CASE("clEnqueueMapImage: no pitch", CL_INVALID_VALUE,
        MADE(clEnqueueMapImage(q, i, 1, CL_MAP_READ, zero, one, NULL, &slice, 0, NULL, NULL, &code)));
    CASE("clEnqueueMapImage: outside", CL_INVALID_VALUE,
        MADE(clEnqueueMapImage(q, i, 1, CL_MAP_READ, last, two, &row, &slice, 0, NULL, NULL, &code)));
    CASE("clEnqueueMapImage: no origin", CL_INVALID_VALUE,
        MADE(clEnqueueMapImage(q, i, 1, CL_MAP_READ, NULL, one, &row, &slice, 0, NULL, NULL, &code)));
    CASE("clEnqueueMapImage: unknown flag", CL_INVALID_VALUE,
        MADE(clEnqueueMapImage(q, i, 1, 1u << 20, zero, one, &row, &slice, 0, NULL, NULL, &code)));
    CASE("clEnqueueMapImage: of a buffer", CL_INVALID_MEM_OBJECT,
        MADE(clEnqueueMapImage(q, b, 1, CL_MAP_READ, zero, one, &row, &slice, 0, NULL, NULL, &code)));
}

static void events(void)
{
    cl_event none = NULL, both[2] = { here.marker, away.marker };
    HANDLES("clCreateUserEvent", freed.context, CL_INVALID_CONTEXT, MADE(clCreateUserEvent(H, &code)));
    HANDLES("clSetUserEventStatus", freed.user, CL_INVALID_EVENT, clSetUserEventStatus(H, CL_COMPLETE));
    CASE("clSetUserEventStatus: of a command", CL_INVALID_EVENT, clSetUserEventStatus(here.marker, CL_COMPLETE));
    CASE("clSetUserEventStatus: running", CL_INVALID_VALUE, clSetUserEventStatus(here.user, CL_RUNNING));
    CASE("clSetUserEventStatus: twice", CL_INVALID_OPERATION, ({
        cl_event e = clCreateUserEvent(here.context, NULL);
        MUST(clSetUserEventStatus(e, CL_COMPLETE));
        clSetUserEventStatus(e, CL_COMPLETE); }));
    HANDLES("clRetainEvent", freed.marker, CL_INVALID_EVENT, clRetainEvent(H));
    HANDLES("clReleaseEvent", freed.marker, CL_INVALID_EVENT, clReleaseEvent(H));
    CASE("clWaitForEvents: no events", CL_INVALID_VALUE, clWaitForEvents(0, NULL));
    CASE("clWaitForEvents: events without list", CL_INVALID_VALUE, clWaitForEvents(1, NULL));
    CASE("clWaitForEvents: list without events", CL_INVALID_VALUE, clWaitForEvents(0, both));
    CASE("clWaitForEvents: NULL event", CL_INVALID_EVENT, clWaitForEvents(1, &none));
    CASE("clWaitForEvents: of two contexts", CL_INVALID_CONTEXT, clWaitForEvents(2, both));
    CASE("clWaitForEvents: failed event", CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, ({
        cl_event e = clCreateUserEvent(here.context, NULL);
        MUST(clSetUserEventStatus(e, -5));
        clWaitForEvents(1, &e); }));
    if (begin(1, "clWaitForEvents: freed event", CL_INVALID_EVENT))
        end(clWaitForEvents(1, &freed.marker));
    HANDLES("clGetEventInfo", freed.marker, CL_INVALID_EVENT,
        clGetEventInfo(H, CL_EVENT_COMMAND_TYPE, 0, NULL, NULL));
    QUERY("clGetEventInfo", CL_EVENT_COMMAND_TYPE, clGetEventInfo(here.marker, param, size, value, size_ret));
    HANDLES("clSetEventCallback", freed.marker, CL_INVALID_EVENT, clSetEventCallback(H, CL_COMPLETE, on_event, NULL));
    CASE("clSetEventCallback: no function", CL_INVALID_VALUE,
        clSetEventCallback(here.marker, CL_COMPLETE, NULL, NULL));
    CASE("clSetEventCallback: queued", CL_INVALID_VALUE, clSetEventCallback(here.marker, CL_QUEUED, on_event, NULL));
    CASE("clSetEventCallback: unknown status", CL_INVALID_VALUE,
        clSetEventCallback(here.marker, 77, on_event, NULL));
    HANDLES("clGetEventProfilingInfo", freed.marker, CL_INVALID_EVENT,
        clGetEventProfilingInfo(H, CL_PROFILING_COMMAND_END, 0, NULL, NULL));
    cl_ulong time;
    CASE("clGetEventProfilingInfo: queue without profiling", CL_PROFILING_INFO_NOT_AVAILABLE,
        clGetEventProfilingInfo(here.marker, CL_PROFILING_COMMAND_END, 8, &time, NULL));
    CASE("clGetEventProfilingInfo: user event", CL_PROFILING_INFO_NOT_AVAILABLE,
        clGetEventProfilingInfo(here.user, CL_PROFILING_COMMAND_END, 8, &time, NULL));
    cl_command_queue q = clCreateCommandQueue(here.context, device, CL_QUEUE_PROFILING_ENABLE, NULL);
    cl_event timed = NULL;
    MUST(clEnqueueMarkerWithWaitList(q, 0, NULL, &timed));
    MUST(clFinish(q));
    QUERY("clGetEventProfilingInfo", CL_PROFILING_COMMAND_END,
        clGetEventProfilingInfo(timed, param, size, value, size_ret));
}

static void shared_memory(void)
{
    static char host[64];
    void *pointer = host;
    const void *constant = host;
    cl_command_queue q = here.queue;
    if (begin(1, "clSVMAlloc: freed context", 0)) end(clSVMAlloc(freed.context, 0, 64, 0) != NULL);
    CASE("clSVMAlloc: NULL context", 0, clSVMAlloc(NULL, 0, 64, 0) != NULL);
    CASE("clSVMAlloc: size 0", 0, clSVMAlloc(here.context, 0, 0, 0) != NULL);
    CASE("clSVMAlloc: alignment 3", 0, clSVMAlloc(here.context, 0, 64, 3) != NULL);
    CASE("clSVMAlloc: unknown flag", 0, clSVMAlloc(here.context, (cl_svm_mem_flags)1 << 40, 64, 0) != NULL);
    CASE("clSVMFree: NULL context", 0, (clSVMFree(NULL, NULL), 0));
    if (begin(1, "clSVMFree: freed context", 0)) { clSVMFree(freed.context, NULL); end(0); }
    HANDLES("clEnqueueSVMFree", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueSVMFree(H, 1, &pointer, NULL, NULL, 0, NULL, NULL));
    CASE("clEnqueueSVMFree: no pointers", CL_INVALID_VALUE, clEnqueueSVMFree(q, 0, &pointer, NULL, NULL, 0, NULL, NULL));
    CASE("clEnqueueSVMFree: count without list", CL_INVALID_VALUE,
        clEnqueueSVMFree(q, 1, NULL, NULL, NULL, 0, NULL, NULL));
    HANDLES("clEnqueueSVMMemcpy", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueSVMMemcpy(H, 1, host, host + 32, 8, 0, NULL, NULL));
    CASE("clEnqueueSVMMemcpy: no memory", CL_INVALID_VALUE, clEnqueueSVMMemcpy(q, 1, NULL, host, 8, 0, NULL, NULL));
    CASE("clEnqueueSVMMemcpy: overlap", CL_MEM_COPY_OVERLAP,
        clEnqueueSVMMemcpy(q, 1, host, host + 4, 8, 0, NULL, NULL));
    WAIT_LISTS("clEnqueueSVMMemcpy", clEnqueueSVMMemcpy(q, 1, host, host + 32, 8, n, list, NULL));
    HANDLES("clEnqueueSVMMemFill", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueSVMMemFill(H, host, "abcd", 4, 8, 0, NULL, NULL));
    CASE("clEnqueueSVMMemFill: no memory", CL_INVALID_VALUE, clEnqueueSVMMemFill(q, NULL, "abcd", 4, 8, 0, NULL, NULL));
    CASE("clEnqueueSVMMemFill: pattern size 3", CL_INVALID_VALUE,
        clEnqueueSVMMemFill(q, host, "abcd", 3, 6, 0, NULL, NULL));
    HANDLES("clEnqueueSVMMap", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueSVMMap(H, 1, CL_MAP_READ, host, 8, 0, NULL, NULL));
    CASE("clEnqueueSVMMap: no memory", CL_INVALID_VALUE, clEnqueueSVMMap(q, 1, CL_MAP_READ, NULL, 8, 0, NULL, NULL));
    CASE("clEnqueueSVMMap: size 0", CL_INVALID_VALUE, clEnqueueSVMMap(q, 1, CL_MAP_READ, host, 0, 0, NULL, NULL));
    HANDLES("clEnqueueSVMUnmap", freed.queue, CL_INVALID_COMMAND_QUEUE, clEnqueueSVMUnmap(H, host, 0, NULL, NULL));
    CASE("clEnqueueSVMUnmap: no memory", CL_INVALID_VALUE, clEnqueueSVMUnmap(q, NULL, 0, NULL, NULL));
    HANDLES("clEnqueueSVMMigrateMem", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueSVMMigrateMem(H, 1, &constant, NULL, 0, 0, NULL, NULL));
    CASE("clEnqueueSVMMigrateMem: no pointers", CL_INVALID_VALUE,
        clEnqueueSVMMigrateMem(q, 0, NULL, NULL, 0, 0, NULL, NULL));
}

/* Buffers and images over shared virtual memory: what reaches beyond it, or begins in it. */
static void over_shared_memory(void)
{
    cl_mem_flags use = CL_MEM_USE_HOST_PTR;
    char *svm = clSVMAlloc(here.context, CL_MEM_READ_WRITE, 8192, 0);
    cl_image_desc desc = flat();
    if (!svm)
        return; /* not every device has some */
    CASE("clCreateBuffer: over shared memory", CL_SUCCESS, MADE(clCreateBuffer(here.context, use, 8192, svm, &code)));
    CASE("clCreateBuffer: larger than its shared memory", CL_INVALID_BUFFER_SIZE,
        MADE(clCreateBuffer(here.context, use, 8193, svm, &code)));
    CASE("clCreateBuffer: much larger than its shared memory", CL_INVALID_BUFFER_SIZE,
        MADE(clCreateBuffer(here.context, use, 1 << 20, svm, &code)));
    CASE("clCreateBufferWithProperties: larger than its shared memory", CL_INVALID_BUFFER_SIZE,
        MADE(clCreateBufferWithProperties(here.context, NULL, use, 8193, svm, &code)));
    CASE("clCreateBuffer: in shared memory", CL_SUCCESS, MADE(clCreateBuffer(here.context, use, 4096, svm + 4096, &code)));
    CASE("clCreateBuffer: copy of the shared memory", CL_SUCCESS,
        MADE(clCreateBuffer(here.context, CL_MEM_COPY_HOST_PTR, 8192, svm, &code)));
    CASE("clCreateImage: over shared memory", CL_SUCCESS,
        MADE(clCreateImage(here.context, use, &format, &desc, svm, &code)));
    clSVMFree(here.context, svm);
}

static void sharing(void)
{
    cl_mem b = here.buffer;
    cl_gl_object_type type;
    cl_GLuint name;
    cl_int got;
    cl_context_properties *no_properties = NULL;
    HANDLES("clCreateFromGLBuffer", freed.context, CL_INVALID_CONTEXT, MADE(clCreateFromGLBuffer(H, 0, 1, &code)));
    CASE("clCreateFromGLBuffer", CL_INVALID_CONTEXT, MADE(clCreateFromGLBuffer(here.context, 0, 1, &code)));
    HANDLES("clCreateFromGLTexture", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateFromGLTexture(H, 0, 0x0DE1, 0, 1, &code)));
    CASE("clCreateFromGLTexture", CL_INVALID_CONTEXT,
        MADE(clCreateFromGLTexture(here.context, 0, 0x0DE1, 0, 1, &code)));
    CASE("clCreateFromGLTexture2D", CL_INVALID_CONTEXT,
        MADE(clCreateFromGLTexture2D(here.context, 0, 0x0DE1, 0, 1, &code)));
    CASE("clCreateFromGLTexture3D", CL_INVALID_CONTEXT,
        MADE(clCreateFromGLTexture3D(here.context, 0, 0x806F, 0, 1, &code)));
    HANDLES("clCreateFromGLRenderbuffer", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateFromGLRenderbuffer(H, 0, 1, &code)));
    CASE("clCreateFromGLRenderbuffer", CL_INVALID_CONTEXT,
        MADE(clCreateFromGLRenderbuffer(here.context, 0, 1, &code)));
    HANDLES("clGetGLObjectInfo", freed.buffer, CL_INVALID_MEM_OBJECT, clGetGLObjectInfo(H, &type, &name));
    CASE("clGetGLObjectInfo: no GL object", CL_INVALID_GL_OBJECT, clGetGLObjectInfo(b, &type, &name));
    HANDLES("clGetGLTextureInfo", freed.image, CL_INVALID_MEM_OBJECT,
        clGetGLTextureInfo(H, CL_GL_MIPMAP_LEVEL, sizeof got, &got, NULL));
    CASE("clGetGLTextureInfo: no GL object", CL_INVALID_GL_OBJECT,
        clGetGLTextureInfo(here.image, CL_GL_MIPMAP_LEVEL, sizeof got, &got, NULL));
    HANDLES("clEnqueueAcquireGLObjects", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueAcquireGLObjects(H, 1, &b, 0, NULL, NULL));
    CASE("clEnqueueAcquireGLObjects", CL_INVALID_CONTEXT, clEnqueueAcquireGLObjects(here.queue, 1, &b, 0, NULL, NULL));
    HANDLES("clEnqueueReleaseGLObjects", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueReleaseGLObjects(H, 1, &b, 0, NULL, NULL));
    CASE("clEnqueueReleaseGLObjects", CL_INVALID_CONTEXT, clEnqueueReleaseGLObjects(here.queue, 1, &b, 0, NULL, NULL));
    CASE("clGetGLContextInfoKHR: no properties", CL_INVALID_GL_SHAREGROUP_REFERENCE_KHR,
        clGetGLContextInfoKHR(no_properties, CL_CURRENT_DEVICE_FOR_GL_CONTEXT_KHR, 0, NULL, NULL));
    cl_context_properties named[] = { CL_CONTEXT_PLATFORM, (cl_context_properties)platform, 0 };
    CASE("clGetGLContextInfoKHR: no GL context", CL_INVALID_GL_SHAREGROUP_REFERENCE_KHR,
        clGetGLContextInfoKHR(named, CL_CURRENT_DEVICE_FOR_GL_CONTEXT_KHR, 0, NULL, NULL));
    cl_context_properties gl[] = { CL_GL_CONTEXT_KHR, 8, CL_CONTEXT_PLATFORM, (cl_context_properties)platform, 0 };
    CASE("clCreateContext: with GL", CL_INVALID_PROPERTY, MADE(clCreateContext(gl, 1, &device, NULL, NULL, &code)));
    HANDLES("clCreateEventFromGLsyncKHR", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateEventFromGLsyncKHR(H, NULL, &code)));
    CASE("clCreateEventFromGLsyncKHR", CL_INVALID_CONTEXT,
        MADE(clCreateEventFromGLsyncKHR(here.context, NULL, &code)));
    HANDLES("clCreateFromEGLImageKHR", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateFromEGLImageKHR(H, NULL, NULL, 0, NULL, &code)));
    CASE("clCreateFromEGLImageKHR", CL_INVALID_OPERATION,
        MADE(clCreateFromEGLImageKHR(here.context, NULL, NULL, 0, NULL, &code)));
    HANDLES("clEnqueueAcquireEGLObjectsKHR", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueAcquireEGLObjectsKHR(H, 1, &b, 0, NULL, NULL));
    CASE("clEnqueueAcquireEGLObjectsKHR", CL_INVALID_EGL_OBJECT_KHR,
        clEnqueueAcquireEGLObjectsKHR(here.queue, 1, &b, 0, NULL, NULL));
    HANDLES("clEnqueueReleaseEGLObjectsKHR", freed.queue, CL_INVALID_COMMAND_QUEUE,
        clEnqueueReleaseEGLObjectsKHR(H, 1, &b, 0, NULL, NULL));
    CASE("clEnqueueReleaseEGLObjectsKHR", CL_INVALID_EGL_OBJECT_KHR,
        clEnqueueReleaseEGLObjectsKHR(here.queue, 1, &b, 0, NULL, NULL));
    HANDLES("clCreateEventFromEGLSyncKHR", freed.context, CL_INVALID_CONTEXT,
        MADE(clCreateEventFromEGLSyncKHR(H, NULL, NULL, &code)));
    CASE("clCreateEventFromEGLSyncKHR", CL_INVALID_EGL_OBJECT_KHR,
        MADE(clCreateEventFromEGLSyncKHR(here.context, NULL, NULL, &code)));
}

int main(int argc, char **argv)
{
    first = argc > 1 ? atoi(argv[1]) : 0;
    wild = argc > 2 && !strcmp(argv[2], "wild");
    MUST(clGetPlatformIDs(1, &platform, NULL));
    MUST(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL));
    make(&here);
    make(&away);
    if (wild) {
        make(&freed);
        release(&freed);
    }
    platforms_and_devices();
    contexts_and_queues();
    memory();
    images();
    programs();
    kernels();
    suggested_sizes();
    execution();
    buffer_transfers();
    image_transfers();
    events();
    shared_memory();
    over_shared_memory();
    sharing();
    puts("end");
    fflush(stdout);
    _exit(0); /* what is left is the operating system's */
}
