/* All is released by an exit handler, with work of the last moment. */
#include "user.h"

enum { WORDS = 1024 };

static cl_mem buffer;
static cl_kernel kernel;
static cl_uint expected[WORDS];

static void leave(void) {
    static cl_uint words[WORDS];
    run(queue, kernel, buffer, 5, WORDS);
    OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof words, words, 0, NULL, NULL));
    for (int i = 0; i < WORDS; i++) CHECK(words[i] == expected[i] * 3 + 5);
    OK(clReleaseKernel(kernel));
    OK(clReleaseMemObject(buffer));
    OK(clReleaseCommandQueue(queue));
    OK(clReleaseContext(context));
    printf("left\n");
}

int main(void) {
    open_device();
    /* Before and after the driver's own handlers, which its compiler registers. */
    kernel = advance_kernel();
    atexit(leave);
    fill(expected, WORDS, 3);
    buffer = MAKE(clCreateBuffer, context, CL_MEM_COPY_HOST_PTR, sizeof expected, expected);
    for (int round = 0; round < 30; round++) {
        run(queue, kernel, buffer, round, WORDS);
        for (int i = 0; i < WORDS; i++) expected[i] = expected[i] * 3 + round;
    }
    OK(clFinish(queue));
    printf("%u\n", expected[1]);
    return 0;
}
