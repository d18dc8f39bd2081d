/* Asks about pointers of every kind again and again: the answers must not change: pointers [ROUNDS] */
#include "user.h"

enum { KINDS = 7, ASKED = 9 };

struct answers {
    CUresult results[ASKED];
    uint64_t values[ASKED];
    CUresult range;
    CUdeviceptr base;
    size_t size;
};

static const CUpointer_attribute ASK[ASKED] = {
    CU_POINTER_ATTRIBUTE_CONTEXT, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, CU_POINTER_ATTRIBUTE_HOST_POINTER,
    CU_POINTER_ATTRIBUTE_IS_MANAGED, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, CU_POINTER_ATTRIBUTE_RANGE_SIZE,
    CU_POINTER_ATTRIBUTE_BUFFER_ID,
};

static struct answers ask(CUdeviceptr at)
{
    struct answers answers = {0};
    for (int i = 0; i < ASKED; i++) {
        uint64_t value = 0;
        answers.results[i] = cuPointerGetAttribute(&value, ASK[i], at);
        if (!answers.results[i]) answers.values[i] = value;
    }
    answers.range = cuMemGetAddressRange(&answers.base, &answers.size, at);
    return answers;
}

int main(int argc, char **argv)
{
    long rounds = argument(argc, argv, 1, 12);
    static const char *const NAMES[KINDS] = {"small", "large", "inside", "mapped", "pool", "pinned", "none"};
    CUdeviceptr at[KINDS], small, large, range, pool;
    void *pinned;
    struct answers first[KINDS];
    open_device();
    OK(cuMemAlloc(&small, 1000));
    OK(cuMemAlloc(&large, 3 << 19));
    CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device}};
    CUmemAccessDesc access = {.location = prop.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    CUmemGenericAllocationHandle handle;
    OK(cuMemCreate(&handle, 2 << 20, &prop, 0));
    OK(cuMemAddressReserve(&range, 4 << 20, 0, 0, 0));
    OK(cuMemMap(range, 2 << 20, 0, handle, 0));
    OK(cuMemSetAccess(range, 2 << 20, &access, 1));
    OK(cuMemAllocAsync(&pool, 1 << 20, NULL));
    OK(cuMemAllocHost(&pinned, 10000));
    OK(cuCtxSynchronize());
    int on_stack;
    at[0] = small;
    at[1] = large;
    at[2] = large + 12345;
    at[3] = range + 100;
    at[4] = pool;
    at[5] = (CUdeviceptr)(uintptr_t)pinned + 8;
    at[6] = (CUdeviceptr)(uintptr_t)&on_stack;
    for (int kind = 0; kind < KINDS; kind++) {
        first[kind] = ask(at[kind]);
        printf("%-7s", NAMES[kind]);
        for (int i = 0; i < ASKED; i++) printf(" %d", first[kind].results[i]);
        printf(": type %llu, managed %llu, device %llu, at %lld, size %llu", (unsigned long long)first[kind].values[1],
               (unsigned long long)first[kind].values[4], (unsigned long long)first[kind].values[5],
               first[kind].values[6] ? (long long)(at[kind] - first[kind].values[6]) : 0, (unsigned long long)first[kind].values[7]);
        printf("; range %d: %lld, %zu\n", first[kind].range, first[kind].range ? 0 : (long long)(at[kind] - first[kind].base),
               first[kind].range ? 0 : first[kind].size);
    }
    /* A move is to come in between. */
    size_t free_before, free_after, total;
    OK(cuMemGetInfo(&free_before, &total));
    for (long round = 0; round < rounds; round++) {
        advance(large, 1000, round, NULL);
        OK(cuCtxSynchronize());
        for (int kind = 0; kind < KINDS; kind++) {
            struct answers now = ask(at[kind]);
            for (int i = 0; i < ASKED; i++) {
                if (now.results[i] != first[kind].results[i] || now.values[i] != first[kind].values[i])
                    printf("%s: attribute %d was %d, %llx and is %d, %llx\n", NAMES[kind], ASK[i], first[kind].results[i],
                           (unsigned long long)first[kind].values[i], now.results[i], (unsigned long long)now.values[i]);
            }
            if (now.range != first[kind].range || now.base != first[kind].base || now.size != first[kind].size)
                printf("%s: range was %d, %llx, %zu and is %d, %llx, %zu\n", NAMES[kind], first[kind].range, first[kind].base,
                       first[kind].size, now.range, now.base, now.size);
        }
        /* All at once. */
        CUpointer_attribute which[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_RANGE_SIZE};
        uint type = 0;
        size_t size = 0;
        OK(cuPointerGetAttributes(2, which, (void *[]){&type, &size}, large + 7));
        CHECK(type == CU_MEMORYTYPE_DEVICE && size == first[1].values[7]);
    }
    OK(cuMemGetInfo(&free_after, &total));
    /* What a move leaves behind would show here. */
    CHECK(free_after + (64 << 20) >= free_before);
    printf("words: %016llx\n", (unsigned long long)digest(large, 1000));
    OK(cuMemFree(small));
    OK(cuMemFree(large));
    OK(cuMemFree(pool));
    OK(cuMemFreeHost(pinned));
    OK(cuMemUnmap(range, 2 << 20));
    OK(cuMemRelease(handle));
    OK(cuMemAddressFree(range, 4 << 20));
    for (int kind = 0; kind < 4; kind++) printf("gone: %d\n", ask(at[kind]).results[1]);
    close_device();
    return 0;
}
