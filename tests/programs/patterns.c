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
#include "patterns.h"

#define LANES 256u /* work-items that write one chunk, 16 bytes each */

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

static void check(cl_int error, const char *call)
{
    if (error != CL_SUCCESS) {
        printf("PROGRAM FAILED %s: error %d\n", call, error);
        exit(2);
    }
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

static struct gpu gpu;
static const struct plan *plan;

static void write_step(struct step step)
{
    touch(&gpu, plan, step);
    check(clFinish(gpu.queue), "clFinish");
}

static void stream_rounds(uint32_t rounds)
{
    stream(&gpu, rounds);
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

int main(int argc, char **argv)
{
    struct asked as = asked(argc, argv);
    plan = &as.plan;
    if (as.from) return count(plan, as.from, as.to);
    gpu = (struct gpu){.buffers = as.buffers, .streams = as.streams};
    start(&gpu, plan);
    uint32_t done = run_steps(&as);
    return patterns_verdict(&as, done, verify(&gpu, plan, done));
}
