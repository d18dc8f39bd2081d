/* Has memory and does nothing for a while: idle [MS] [MIB] */
#include "user.h"

int main(int argc, char **argv)
{
    long ms = argument(argc, argv, 1, 300);
    size_t words = (size_t)argument(argc, argv, 2, 8) << 18;
    CUdeviceptr at;
    open_device();
    OK(cuMemAlloc(&at, words * 4));
    fill(at, words, 3, NULL);
    OK(cuCtxSynchronize());
    uint64_t before = digest(at, words);
    sleep_ms(ms);
    uint64_t after = digest(at, words);
    advance(at, words, 1, NULL);
    printf("%016llx %016llx %016llx\n", (unsigned long long)before, (unsigned long long)after, (unsigned long long)digest(at, words));
    OK(cuMemFree(at));
    close_device();
    return before != after;
}
