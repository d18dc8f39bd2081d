/* Blocking transfers and kernels, one behind the other, on a driver that runs commands inside the calls. It prints its rounds. */
#include "user.h"

enum { WORDS = 512, ROUNDS = 20000 };

int main(void) {
    open_device();
    cl_uint words[WORDS], read[WORDS];
    cl_kernel kernel = advance_kernel();
    cl_mem buffer = MAKE(clCreateBuffer, context, CL_MEM_READ_WRITE, sizeof words, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        fill(words, WORDS, round);
        OK(clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, sizeof words, words, 0, NULL, NULL));
        run(queue, kernel, buffer, round, WORDS);
        memset(read, 0, sizeof read);
        OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof read, read, 0, NULL, NULL));
        for (int i = 0; i < WORDS; i++) CHECK(read[i] == words[i] * 3 + round);
    }
    printf("%d rounds\n", ROUNDS);
    return 0;
}
