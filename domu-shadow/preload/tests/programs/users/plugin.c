/* A plug-in that computes with OpenCL. */
#include "user.h"

enum { WORDS = 2048 };

cl_uint compute(cl_uint seed) {
    static cl_uint expected[WORDS], words[WORDS];
    open_device();
    cl_kernel kernel = advance_kernel();
    fill(expected, WORDS, seed);
    cl_mem buffer = MAKE(clCreateBuffer, context, CL_MEM_COPY_HOST_PTR, sizeof expected, expected);
    for (int round = 0; round < 20; round++) {
        run(queue, kernel, buffer, round, WORDS);
        for (int i = 0; i < WORDS; i++) expected[i] = expected[i] * 3 + round;
    }
    OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof words, words, 0, NULL, NULL));
    CHECK(!memcmp(words, expected, sizeof words));
    OK(clReleaseMemObject(buffer));
    OK(clReleaseKernel(kernel));
    OK(clReleaseCommandQueue(queue));
    OK(clReleaseContext(context));
    return words[1];
}
