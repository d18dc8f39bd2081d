/* Structures on the device that hold device addresses, in one allocation and over many: lists [NODES] [ROUNDS] */
#include "user.h"

struct node {
    CUdeviceptr next;
    uint value, padding;
};

/* What `follow` makes of the list. */
static uint64_t walked(uint *values, int count)
{
    uint64_t sum = 0;
    for (int i = 0; i < count; i++) sum = sum * 31 + values[i]++;
    return sum;
}

int main(int argc, char **argv)
{
    int count = argument(argc, argv, 1, 500), rounds = argument(argc, argv, 2, 20);
    enum { BLOCKS = 4 };
    CUdeviceptr blocks[BLOCKS], result;
    struct node *host = calloc(count, sizeof *host);
    uint *values = malloc(count * sizeof *values);
    open_device();
    CUfunction follow = kernel("follow");
    OK(cuMemAlloc(&result, 8));
    for (int i = 0; i < BLOCKS; i++) OK(cuMemAlloc(&blocks[i], i % 2 ? count * sizeof *host : (1u << 20) + count * sizeof *host));
    /* Node i is in block i % BLOCKS. */
    for (int i = count - 1; i >= 0; i--) {
        int next = i + 1;
        values[i] = mixed(i);
        host[i] = (struct node){next < count ? blocks[next % BLOCKS] + next * sizeof *host : 0, values[i], 0};
        OK(cuMemcpyHtoD(blocks[i % BLOCKS] + i * sizeof *host, &host[i], sizeof *host));
    }
    uint64_t all = 0;
    for (int round = 0; round < rounds; round++) {
        uint64_t sum;
        CUdeviceptr first = blocks[0];
        OK(cuLaunchKernel(follow, 1, 1, 1, 1, 1, 1, 0, NULL, (void *[]){&first, &result}, NULL));
        OK(cuMemcpyDtoH(&sum, result, 8));
        CHECK(sum == walked(values, count));
        all = all * 7 + sum;
    }
    printf("%d nodes: %016llx\n", count, (unsigned long long)all);
    for (int i = 0; i < BLOCKS; i++) OK(cuMemFree(blocks[i]));
    OK(cuMemFree(result));
    close_device();
    return 0;
}
