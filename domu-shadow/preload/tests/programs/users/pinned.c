/* A pinned buffer's mapped memory is the source of writes, and the target of reads, for as long as the program runs. */
#include "user.h"

enum { WORDS = 16384, ROUNDS = 40 };

int main(void) {
    static cl_uint expected[WORDS];
    open_device();
    cl_kernel kernel = advance_kernel();
    cl_mem pinned = MAKE(clCreateBuffer, context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, 2 * sizeof expected, NULL);
    cl_uint *up = MAKE(clEnqueueMapBuffer, queue, pinned, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0, 2 * sizeof expected, 0, NULL,
                       NULL);
    cl_uint *down = up + WORDS;
    cl_mem buffer = MAKE(clCreateBuffer, context, CL_MEM_READ_WRITE, sizeof expected, NULL);
    cl_uint sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
        fill(up, WORDS, round);
        memset(down, 0, sizeof expected);
        OK(clEnqueueWriteBuffer(queue, buffer, CL_FALSE, 0, sizeof expected, up, 0, NULL, NULL));
        run(queue, kernel, buffer, round, WORDS);
        pass_time(round % 5);
        OK(clEnqueueReadBuffer(queue, buffer, CL_FALSE, 0, sizeof expected, down, 0, NULL, NULL));
        OK(clFinish(queue));
        for (int i = 0; i < WORDS; i++) CHECK(down[i] == up[i] * 3 + round);
        sum += down[round];
    }
    OK(clEnqueueUnmapMemObject(queue, pinned, up, 0, NULL, NULL));
    OK(clEnqueueReadBuffer(queue, pinned, CL_TRUE, sizeof expected, sizeof expected, expected, 0, NULL, NULL));
    cl_uint first = expected[0];
    printf("%u %u\n", sum, first);
    return 0;
}
