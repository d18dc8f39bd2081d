/* A timer's signal a thousand times a second, whose handler has system calls interrupted. */
#include "user.h"

#include <signal.h>
#include <sys/time.h>

enum { WORDS = 65536, ROUNDS = 60 };

static atomic_int ticks;

static void tick(int number) {
    (void)number;
    ticks++;
}

int main(void) {
    static cl_uint expected[WORDS], words[WORDS];
    struct sigaction action = {.sa_handler = tick};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    open_device();
    cl_kernel kernel = advance_kernel();
    fill(expected, WORDS, 9);
    cl_mem buffer = MAKE(clCreateBuffer, context, CL_MEM_COPY_HOST_PTR, sizeof expected, expected);
    for (int round = 0; round < ROUNDS; round++) {
        run(queue, kernel, buffer, round, WORDS);
        for (int i = 0; i < WORDS; i++) expected[i] = expected[i] * 3 + round;
        OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof words, words, 0, NULL, NULL));
        CHECK(!memcmp(words, expected, sizeof words));
    }
    while (ticks < 10) pass_time(1);
    printf("%u\n", words[7]);
    return 0;
}
