/*
 * both: CUDA and OpenCL in one process. Each has the waves of ../wave.h: a hot one that steps all the time, and a cold one.
 *
 *     both [wave's options: sizes are each API's]
 */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include "user.h"
#include "../wave.h"

static const char *SOURCE =
    "__kernel void wave_step(__global const uint *now, __global uint *before)\n"
    "{\n"
    "    const size_t i = get_global_id(0), n = get_global_size(0);\n"
    "    before[i] = now[i ? i - 1 : n - 1] + now[i + 1 < n ? i + 1 : 0] - before[i];\n"
    "}\n";

static CUstream stream;
static CUfunction cuda_step;
static cl_context opencl;
static cl_command_queue queue;
static cl_kernel opencl_step;

struct string {
    size_t words, points, time; /* [time % 2] holds u(time), the other one u(time - 1) */
    CUdeviceptr cuda[2];
    cl_mem opencl[2];
};

static void open_opencl(void)
{
    cl_platform_id platform;
    cl_device_id id;
    cl_int error;
    OK(clGetPlatformIDs(1, &platform, NULL));
    OK(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &id, NULL));
    opencl = clCreateContext(NULL, 1, &id, NULL, NULL, &error);
    OK(error);
    queue = clCreateCommandQueue(opencl, id, 0, &error);
    OK(error);
    cl_program program = clCreateProgramWithSource(opencl, 1, &SOURCE, NULL, &error);
    OK(error);
    OK(clBuildProgram(program, 1, &id, "", NULL, NULL));
    opencl_step = clCreateKernel(program, "wave_step", &error);
    OK(error);
    OK(clReleaseProgram(program));
}

static struct string create(size_t mib, size_t one_in)
{
    size_t words = (mib << 20) / 2 / 4;
    struct string s = {.words = words, .points = words / one_in, .time = 1};
    uint32_t *u = malloc(words * 4);
    for (int t = 0; t < 2; t++) {
        cl_int error;
        state(u, words, s.points, (uint64_t)t);
        OK(cuMemAlloc(&s.cuda[t], words * 4));
        OK(cuMemcpyHtoD(s.cuda[t], u, words * 4));
        s.opencl[t] = clCreateBuffer(opencl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, words * 4, u, &error);
        OK(error);
    }
    free(u);
    return s;
}

static void step(struct string *s)
{
    int now = s->time % 2, before = !now;
    LAUNCH(cuda_step, s->points, stream, &s->cuda[now], &s->cuda[before], &s->points);
    OK(clSetKernelArg(opencl_step, 0, sizeof(cl_mem), &s->opencl[now]));
    OK(clSetKernelArg(opencl_step, 1, sizeof(cl_mem), &s->opencl[before]));
    OK(clEnqueueNDRangeKernel(queue, opencl_step, 1, NULL, &s->points, NULL, 0, NULL, NULL));
    s->time++;
}

static void finish(void)
{
    OK(clFinish(queue));
    OK(cuStreamSynchronize(stream));
}

static size_t verify(const struct string *s, int number, uint64_t *digest)
{
    size_t wrong = 0;
    uint32_t *got = malloc(s->words * 4);
    for (int back = 0; back < 2; back++) {
        uint64_t t = s->time - (uint64_t)back;
        OK(cuMemcpyDtoH(got, s->cuda[t % 2], s->words * 4));
        wrong += wrong_words(got, s->words, s->points, t, number, digest);
        OK(clEnqueueReadBuffer(queue, s->opencl[t % 2], CL_TRUE, 0, s->words * 4, got, 0, NULL, NULL));
        wrong += wrong_words(got, s->words, s->points, t, number, digest);
    }
    free(got);
    return wrong;
}

int main(int argc, char **argv)
{
    struct wave wave = wave_asked(argc, argv);
    open_device();
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    cuda_step = kernel("wave_step");
    open_opencl();
    struct string hot = create(wave.hot_mib, wave.one_in), cold = create(wave.mib - wave.hot_mib, wave.one_in);
    wave_begins(&wave);
    while (wave_goes_on(&wave)) {
        step(&hot);
        if (cold_string(&wave) >= 0) step(&cold);
        finish();
        stepped(&wave);
    }
    step(&cold);
    finish();
    uint64_t digest = NO_DIGEST;
    size_t wrong = verify(&hot, 0, &digest) + verify(&cold, 1, &digest);
    for (int t = 0; t < 2; t++) {
        OK(cuMemFree(hot.cuda[t]) | cuMemFree(cold.cuda[t]));
        OK(clReleaseMemObject(hot.opencl[t]) | clReleaseMemObject(cold.opencl[t]));
    }
    OK(clReleaseKernel(opencl_step));
    OK(clReleaseCommandQueue(queue));
    OK(clReleaseContext(opencl));
    OK(cuStreamDestroy(stream));
    close_device();
    return wave_verdict(wrong, digest);
}
