/* Managed memory, which no driver takes off a device: before it comes and after it has gone the program can move, and with it never:
   managed [WAIT [WAIT WITH IT]]: in each part; milliseconds, or a PATH: until there is a file PATH with the part's number behind */
#include "user.h"

enum { WORDS = 100000 };

static void await_next(const char *how, int part)
{
    char name[500];
    snprintf(name, sizeof name, "%s%d", how, part);
    if (how[0] != '/') sleep_ms(atol(how));
    else while (access(name, F_OK)) sleep_ms(5);
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "0", *with = argc > 2 ? argv[2] : how;
    CUdeviceptr at, managed;
    setvbuf(stdout, NULL, _IOLBF, 0);
    open_device();
    OK(cuMemAlloc(&at, 1 << 20));
    fill(at, WORDS, 1, NULL);
    for (uint i = 0; i < 20; i++) advance(at, WORDS, i, NULL);
    await_next(how, 1);
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
    await_next(with, 2);
    printf("with: %016llx %016llx\n", (unsigned long long)host_digest(words, WORDS), (unsigned long long)digest(at, WORDS));
    uint flag = 0;
    OK(cuPointerGetAttribute(&flag, CU_POINTER_ATTRIBUTE_IS_MANAGED, managed));
    printf("managed: %u\n", flag);
    OK(cuMemFree(managed));
    for (uint i = 0; i < 20; i++) advance(at, WORDS, i, NULL);
    await_next(how, 3);
    printf("after: %016llx\n", (unsigned long long)digest(at, WORDS));
    OK(cuMemFree(at));
    close_device();
    return 0;
}
