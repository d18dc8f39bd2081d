/* Two processes on one device, each with its own contents; the parent, which uses none, tells what came of it: two [ROUNDS] */
#include "user.h"
#include <sys/wait.h>

enum { WORDS = 400000 };

static uint64_t work(uint number, uint rounds)
{
    CUdeviceptr at;
    open_device();
    OK(cuMemAlloc(&at, WORDS * 4));
    fill(at, WORDS, number, NULL);
    uint *expected = malloc(WORDS * 4);
    host_fill(expected, WORDS, number);
    for (uint round = 0; round < rounds; round++) {
        advance(at, 3000, round * number, NULL);
        host_advance(expected, 3000, round * number);
        OK(cuCtxSynchronize());
    }
    uint64_t sum = digest(at, WORDS);
    CHECK(sum == host_digest(expected, WORDS));
    OK(cuMemFree(at));
    close_device();
    return sum;
}

int main(int argc, char **argv)
{
    uint rounds = argument(argc, argv, 1, 30);
    int told[2][2];
    for (uint i = 0; i < 2; i++) {
        CHECK(!pipe(told[i]));
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            uint64_t sum = work(i + 1, rounds);
            CHECK(write(told[i][1], &sum, sizeof sum) == sizeof sum);
            exit(0);
        }
        close(told[i][1]);
    }
    for (uint i = 0; i < 2; i++) {
        uint64_t sum = 0;
        CHECK(read(told[i][0], &sum, sizeof sum) == sizeof sum);
        printf("%u: %016llx\n", i + 1, (unsigned long long)sum);
    }
    for (int i = 0; i < 2; i++) {
        int status;
        CHECK(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    return 0;
}
