/* A program with a cache of binaries: one of another driver version and garbage are refused, and it builds from source and
   goes on; a good one is loaded, and lasts. */
#include "user.h"

enum { WORDS = 256 };

static const char *source = "kernel void advance(global uint *a, uint by) { a[get_global_id(0)] = a[get_global_id(0)] * 3 + by; }";

/* As programs do: the binary, and if it is not good the source. `from` says which. */
static cl_program load(const unsigned char *binary, size_t size, const char **from) {
    cl_int status = 0, code = 0;
    cl_program program = clCreateProgramWithBinary(context, 1, &device, &size, &binary, &status, &code);
    if (!code && !status && !clBuildProgram(program, 1, &device, "", NULL, NULL)) {
        cl_kernel kernel = clCreateKernel(program, "advance", &code);
        if (!code) {
            OK(clReleaseKernel(kernel));
            *from = "binary";
            return program;
        }
    }
    if (program) OK(clReleaseProgram(program));
    program = MAKE(clCreateProgramWithSource, context, 1, &source, NULL);
    OK(clBuildProgram(program, 1, &device, "", NULL, NULL));
    *from = "source";
    return program;
}

static void use(cl_program program) {
    cl_uint expected[WORDS], words[WORDS];
    cl_kernel kernel = MAKE(clCreateKernel, program, "advance");
    fill(expected, WORDS, 4);
    cl_mem buffer = MAKE(clCreateBuffer, context, CL_MEM_COPY_HOST_PTR, sizeof expected, expected);
    for (int round = 0; round < 20; round++) {
        run(queue, kernel, buffer, round, WORDS);
        for (int i = 0; i < WORDS; i++) expected[i] = expected[i] * 3 + round;
    }
    OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof words, words, 0, NULL, NULL));
    CHECK(!memcmp(words, expected, sizeof words));
    OK(clReleaseMemObject(buffer));
    OK(clReleaseKernel(kernel));
}

int main(void) {
    open_device();
    cl_program first = MAKE(clCreateProgramWithSource, context, 1, &source, NULL);
    OK(clBuildProgram(first, 1, &device, "", NULL, NULL));
    use(first);
    size_t size;
    OK(clGetProgramInfo(first, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL));
    unsigned char *binary = malloc(size);
    OK(clGetProgramInfo(first, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL));
    OK(clReleaseProgram(first));

    const char *from;
    cl_program programs[3];
    programs[0] = load(binary, size, &from);
    printf("its own: %s\n", from);
    /* pocl's header, on which CI runs this: 8 bytes "poclbin", a hash of device and driver behind them. */
    unsigned char *older = memcpy(malloc(size), binary, size);
    for (int i = 8; i < 16; i++) older[i] ^= 0x5a;
    programs[1] = load(older, size, &from);
    printf("another driver's: %s\n", from);
    memset(older, 0xc3, size);
    programs[2] = load(older, size, &from);
    printf("garbage: %s\n", from);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 3; i++) use(programs[i]);
    for (int i = 0; i < 3; i++) OK(clReleaseProgram(programs[i]));
    return 0;
}
