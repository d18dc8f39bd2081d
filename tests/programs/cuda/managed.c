/* Managed memory, which no driver takes off a device: before it comes and after it has gone the program can move, and with it never:
   managed [MS TO WAIT IN EACH PART [MS TO WAIT WITH IT]] */
#include "user.h"

enum { WORDS = 100000 };

int main(int argc, char **argv)
{
    long ms = argument(argc, argv, 1, 0), with = argument(argc, argv, 2, ms);
    CUdeviceptr at, managed;
    open_device();
    OK(cuMemAlloc(&at, 1 << 20));
    fill(at, WORDS, 1, NULL);
    for (uint i = 0; i < 20; i++) advance(at, WORDS, i, NULL);
    sleep_ms(ms);
    printf("before: %016llx\n", (unsigned long long)digest(at, WORDS));
    CUresult result = cuMemAllocManaged(&managed, WORDS * 4, CU_MEM_ATTACH_GLOBAL);
    if (result) {
        printf("no managed memory: %d\n", result);
        return 0;
    }
    uint *words = (uint *)(uintptr_t)managed;
    host_fill(words, WORDS, 5);
    for (uint i = 0; i < 20; i++) {
        advance(managed, WORDS, i, NULL);
        advance(at, WORDS, i, NULL);
        OK(cuCtxSynchronize());
        words[i] += 1;
    }
    sleep_ms(with);
    printf("with: %016llx %016llx\n", (unsigned long long)host_digest(words, WORDS), (unsigned long long)digest(at, WORDS));
    uint flag = 0;
    OK(cuPointerGetAttribute(&flag, CU_POINTER_ATTRIBUTE_IS_MANAGED, managed));
    printf("managed: %u\n", flag);
    OK(cuMemFree(managed));
    for (uint i = 0; i < 20; i++) advance(at, WORDS, i, NULL);
    sleep_ms(ms);
    printf("after: %016llx\n", (unsigned long long)digest(at, WORDS));
    OK(cuMemFree(at));
    close_device();
    return 0;
}
