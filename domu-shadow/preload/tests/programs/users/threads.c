/* 64 threads with a queue, a kernel and a buffer each. */
#include "user.h"

enum { THREADS = 64, WORDS = 512, ROUNDS = 30 };

static void *work(void *user) {
    cl_uint seed = *(cl_uint *)user, expected[WORDS], words[WORDS];
    cl_command_queue own = MAKE(clCreateCommandQueueWithProperties, context, device, NULL);
    cl_kernel kernel = advance_kernel();
    fill(expected, WORDS, seed);
    cl_mem buffer = MAKE(clCreateBuffer, context, CL_MEM_COPY_HOST_PTR, sizeof expected, expected);
    for (cl_uint round = 0; round < ROUNDS; round++) {
        run(own, kernel, buffer, round + seed, WORDS);
        for (int i = 0; i < WORDS; i++) expected[i] = expected[i] * 3 + round + seed;
        if (round % 7 == seed % 7) OK(clFinish(own));
    }
    OK(clEnqueueReadBuffer(own, buffer, CL_TRUE, 0, sizeof words, words, 0, NULL, NULL));
    CHECK(!memcmp(words, expected, sizeof words));
    OK(clReleaseMemObject(buffer));
    OK(clReleaseKernel(kernel));
    OK(clReleaseCommandQueue(own));
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    cl_uint seeds[THREADS];
    open_device();
    for (cl_uint i = 0; i < THREADS; i++) {
        seeds[i] = i;
        CHECK(!pthread_create(&threads[i], NULL, work, &seeds[i]));
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    printf("%d threads\n", THREADS);
    return 0;
}
