/*
 * calls: what one CUDA call costs through two CUDA libraries, measured side by side in one process, as ../calls.c for OpenCL.
 *
 *     calls PLAIN.so OTHER.so [--rounds N] [--json]
 *
 * Each library is opened by path and has a context of its own. A round measures every call through one and at once through the other, in
 * alternating order; printed are the medians over all rounds, in ns per call. Links nothing. Exit status: 0, or 2 with the failing call's name.
 */
#include "cuda_min.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern const char kernels_ptx[];
__asm__(".pushsection .rodata\n.globl kernels_ptx\nkernels_ptx:\n.incbin \"kernels.ptx\"\n.byte 0\n.popsection");

#define FUNCTIONS(X) \
    X(cuInit) X(cuDeviceGet) X(cuCtxCreate) X(cuCtxSetCurrent) X(cuCtxGetCurrent) X(cuCtxSynchronize) X(cuModuleLoadData) \
    X(cuModuleGetFunction) X(cuMemAlloc) X(cuMemFree) X(cuMemAllocHost) X(cuMemAllocAsync) X(cuMemFreeAsync) X(cuStreamCreate) \
    X(cuStreamSynchronize) X(cuStreamQuery) X(cuStreamBeginCapture) X(cuStreamEndCapture) X(cuGraphInstantiate) X(cuGraphLaunch) \
    X(cuEventCreate) X(cuEventRecord) X(cuEventQuery) X(cuLaunchKernel) X(cuMemcpyAsync) X(cuMemcpyHtoDAsync) X(cuMemcpyDtoH) \
    X(cuMemsetD32Async) X(cuPointerGetAttribute) X(cuMemGetAddressRange)

struct library {
#define MEMBER(name) __typeof__(&name) f_##name;
    FUNCTIONS(MEMBER)
    CUdevice device;
    CUcontext context;
    CUstream stream;
    CUevent event;
    CUfunction nothing, count;
    CUdeviceptr at, large;
    CUgraphExec graph;
    void *host;
};

static void check(CUresult error, const char *call)
{
    if (error) {
        fprintf(stderr, "calls: %s: error %d\n", call, error);
        exit(2);
    }
}
#define CALL(l, name, ...) check((l)->f_##name(__VA_ARGS__), #name)
#define TEXT_(name) #name
#define TEXT(name) TEXT_(name)

static void open_library(struct library *l, const char *path)
{
    void *file = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CUmodule module;
    CUgraph graph;
    if (!file) {
        fprintf(stderr, "calls: %s\n", dlerror());
        exit(2);
    }
#define FIND(name) \
    if (!(l->f_##name = (__typeof__(&name))dlsym(file, TEXT(name)))) { \
        fprintf(stderr, "calls: %s has no %s\n", path, TEXT(name)); \
        exit(2); \
    }
    FUNCTIONS(FIND)
    CALL(l, cuInit, 0);
    CALL(l, cuDeviceGet, &l->device, 0);
    CALL(l, cuCtxCreate, &l->context, 0, l->device);
    CALL(l, cuModuleLoadData, &module, kernels_ptx);
    CALL(l, cuModuleGetFunction, &l->nothing, module, "nothing");
    CALL(l, cuModuleGetFunction, &l->count, module, "count");
    CALL(l, cuStreamCreate, &l->stream, CU_STREAM_NON_BLOCKING);
    CALL(l, cuEventCreate, &l->event, CU_EVENT_DISABLE_TIMING);
    CALL(l, cuMemAlloc, &l->at, 4096);
    CALL(l, cuMemAlloc, &l->large, 64 << 20);
    CALL(l, cuMemAllocHost, &l->host, 4096);
    CALL(l, cuStreamBeginCapture, l->stream, CU_STREAM_CAPTURE_MODE_RELAXED);
    CALL(l, cuLaunchKernel, l->nothing, 1, 1, 1, 1, 1, 1, 0, l->stream, NULL, NULL);
    CALL(l, cuStreamEndCapture, l->stream, &graph);
    CALL(l, cuGraphInstantiate, &l->graph, graph, 0);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void launch(struct library *l) { CALL(l, cuLaunchKernel, l->count, 1, 1, 1, 1, 1, 1, 0, l->stream, (void *[]){&l->at}, NULL); }
static void copy(struct library *l) { CALL(l, cuMemcpyAsync, l->at + 1024, l->at, 256, l->stream); }
static void upload(struct library *l) { CALL(l, cuMemcpyHtoDAsync, l->at, l->host, 256, l->stream); }
static void download(struct library *l)
{
    unsigned word;
    CALL(l, cuMemcpyDtoH, &word, l->at, 4);
}
static void set(struct library *l) { CALL(l, cuMemsetD32Async, l->at, 1, 64, l->stream); }
static void record(struct library *l) { CALL(l, cuEventRecord, l->event, l->stream); }
static void query(struct library *l) { l->f_cuEventQuery(l->event); }
static void replay(struct library *l) { CALL(l, cuGraphLaunch, l->graph, l->stream); }
static void synchronize(struct library *l) { CALL(l, cuStreamSynchronize, l->stream); }
static void current(struct library *l)
{
    CUcontext context;
    CALL(l, cuCtxGetCurrent, &context);
}
static void allocate(struct library *l, size_t bytes)
{
    CUdeviceptr made;
    CALL(l, cuMemAlloc, &made, bytes);
    CALL(l, cuMemFree, made);
}
static void small(struct library *l) { allocate(l, 4096); }
static void middle(struct library *l) { allocate(l, 2 << 20); }
static void large(struct library *l) { allocate(l, 64 << 20); }
static void pool(struct library *l)
{
    CUdeviceptr made;
    CALL(l, cuMemAllocAsync, &made, 65536, l->stream);
    CALL(l, cuMemFreeAsync, made, l->stream);
}
static void attribute(struct library *l)
{
    unsigned type;
    CALL(l, cuPointerGetAttribute, &type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, l->large + 5);
}
static void range(struct library *l)
{
    CUdeviceptr base;
    size_t size;
    CALL(l, cuMemGetAddressRange, &base, &size, l->large + 5);
}

static const struct {
    const char *name;
    void (*call)(struct library *);
    int times; /* a round; few enough that no queue of commands fills up */
} CALLS[] = {
    {"cuLaunchKernel", launch, 400},
    {"cuMemcpyAsync(256 B, on the device)", copy, 400},
    {"cuMemcpyHtoDAsync(256 B, pinned)", upload, 400},
    {"cuMemcpyDtoH(4 B)", download, 100},
    {"cuMemsetD32Async(256 B)", set, 400},
    {"cuEventRecord", record, 400},
    {"cuEventQuery", query, 2000},
    {"cuGraphLaunch(1 kernel)", replay, 200},
    {"cuStreamSynchronize(idle)", synchronize, 1000},
    {"cuCtxGetCurrent", current, 10000},
    {"cuMemAlloc+Free(4 KiB)", small, 50},
    {"cuMemAlloc+Free(2 MiB)", middle, 20},
    {"cuMemAlloc+Free(64 MiB)", large, 10},
    {"cuMemAllocAsync+FreeAsync(64 KiB)", pool, 200},
    {"cuPointerGetAttribute(type)", attribute, 2000},
    {"cuMemGetAddressRange", range, 2000},
};
#define KINDS (sizeof CALLS / sizeof CALLS[0])

static double measure(struct library *l, size_t kind)
{
    const int times = CALLS[kind].times;
    CALL(l, cuCtxSetCurrent, l->context);
    CALL(l, cuCtxSynchronize);
    const double start = now();
    for (int i = 0; i < times; i++) CALLS[kind].call(l);
    const double took = now() - start;
    CALL(l, cuCtxSynchronize);
    return took / times;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, ascending);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

int main(int argc, char **argv)
{
    int rounds = 201, json = 0;
    static struct library libraries[2];
    if (argc < 3) {
        fprintf(stderr, "usage: calls PLAIN.so OTHER.so [--rounds N] [--json]\n");
        return 2;
    }
    for (int i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "--json"))
            json = 1;
        else if (!strcmp(argv[i], "--rounds") && i + 1 < argc && atoi(argv[i + 1]) > 0)
            rounds = atoi(argv[++i]);
        else {
            fprintf(stderr, "calls: unknown argument %s\n", argv[i]);
            return 2;
        }
    }
    open_library(&libraries[0], argv[1]);
    open_library(&libraries[1], argv[2]);
    double *figures[2][KINDS];
    for (size_t kind = 0; kind < KINDS; kind++)
        for (int l = 0; l < 2; l++)
            if (!(figures[l][kind] = malloc(sizeof(double) * (size_t)rounds))) check(CUDA_ERROR_OUT_OF_MEMORY, "malloc");
    for (int round = -3; round < rounds; round++) /* the first ones warm up */
        for (size_t kind = 0; kind < KINDS; kind++)
            for (int turn = 0; turn < 2; turn++) {
                const int l = (round & 1) ^ turn;
                const double took = measure(&libraries[l], kind);
                if (round >= 0) figures[l][kind][round] = took;
            }
    printf(json ? "[" : "%-38s %12s %12s %10s %8s\n", "call (medians, ns)", "plain", "other", "more ns", "%");
    for (size_t kind = 0; kind < KINDS; kind++) {
        const double plain = median(figures[0][kind], rounds), other = median(figures[1][kind], rounds);
        if (json)
            printf("%s{\"call\":\"%s\",\"plain_ns\":%.1f,\"other_ns\":%.1f}", kind ? "," : "", CALLS[kind].name, plain, other);
        else
            printf("%-38s %12.1f %12.1f %10.1f %8.2f\n", CALLS[kind].name, plain, other, other - plain, 100 * (other - plain) / plain);
    }
    if (json) printf("]\n");
    return 0;
}
