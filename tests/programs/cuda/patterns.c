/* patterns: the program of ../patterns.c on CUDA, with the same arguments. */
#include "user.h"
#include "../patterns.h"

static struct { CUdeviceptr at; uint64_t first, chunks; } parts[MOST_BUFFERS];
static struct asked asked_for;
static CUfunction touch_chunks, check_chunks, stream_kernel;
static CUdeviceptr from, to;
static CUstream stream;

static void write_step(struct step step)
{
    for (unsigned i = 0; i < asked_for.buffers && step.count; i++)
        OK(cuLaunchKernel(touch_chunks, (unsigned)step.count, 1, 1, 128, 1, 1, 0, stream,
                          (void *[]){&parts[i].at, &parts[i].first, &parts[i].chunks, &asked_for.plan.all, &step.start, &step.stride,
                                     &step.version}, NULL));
    OK(cuStreamSynchronize(stream));
}

static void stream_rounds(uint32_t rounds)
{
    uint words = STREAM_BYTES / 16;
    OK(cuLaunchKernel(stream_kernel, 512, 1, 1, 128, 1, 1, 0, stream, (void *[]){&from, &to, &rounds, &words}, NULL));
    OK(cuStreamSynchronize(stream));
}

static uint32_t verify(uint32_t last)
{
    const struct plan *plan = &asked_for.plan;
    uint32_t *versions = get(plan->all * sizeof *versions), wrong = 0;
    CUdeviceptr counter, table;
    follow(plan, versions, 1, last);
    OK(cuMemAlloc(&counter, 4));
    OK(cuMemsetD32(counter, 0, 1));
    for (unsigned i = 0; i < asked_for.buffers; i++) {
        OK(cuMemAlloc(&table, parts[i].chunks * 4));
        OK(cuMemcpyHtoD(table, versions + parts[i].first, parts[i].chunks * 4));
        OK(cuLaunchKernel(check_chunks, (unsigned)parts[i].chunks, 1, 1, 128, 1, 1, 0, stream,
                          (void *[]){&parts[i].at, &table, &parts[i].first, &counter}, NULL));
        OK(cuStreamSynchronize(stream));
        OK(cuMemFree(table));
    }
    OK(cuMemcpyDtoH(&wrong, counter, 4));
    free(versions);
    return wrong;
}

int main(int argc, char **argv)
{
    char name[100];
    asked_for = asked(argc, argv);
    const struct plan *plan = &asked_for.plan;
    if (asked_for.from) return count(plan, asked_for.from, asked_for.to);
    open_device();
    OK(cuDeviceGetName(name, sizeof name, device));
    printf("device: %s\n", name);
    touch_chunks = kernel("touch_chunks");
    check_chunks = kernel("check_chunks");
    stream_kernel = kernel("stream");
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    uint64_t first = 0;
    for (unsigned i = 0; i < asked_for.buffers; i++) {
        parts[i].first = first;
        parts[i].chunks = plan->all / asked_for.buffers + (i < plan->all % asked_for.buffers);
        first += parts[i].chunks;
        OK(cuMemAlloc(&parts[i].at, parts[i].chunks * CHUNK));
    }
    if (asked_for.streams) {
        OK(cuMemAlloc(&from, STREAM_BYTES));
        OK(cuMemAlloc(&to, 512 * 128 * 16));
        OK(cuMemsetD32(from, 7, STREAM_BYTES / 4));
    }
    /* All of it at version 0. */
    write_step((struct step){.count = plan->all, .stride = 1});
    uint32_t done = run_steps(&asked_for);
    return patterns_verdict(&asked_for, done, verify(done));
}
