/* What the programs here share: a device with a context and the kernels, launches, and contents that are known. */
#ifndef USER_H
#define USER_H
#include "cuda_min.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef unsigned uint;

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"

static void failed(const char *what, int error, const char *file, int line)
{
    const char *name = NULL;
    if (error >= 0) cuGetErrorName(error, &name);
    printf("PROGRAM FAILED %s:%d: %s: %s (%d)\n", file, line, what, name ? name : "-", error);
    fflush(stdout);
    _exit(1);
}

#define CHECK(condition) \
    do { \
        if (!(condition)) failed(#condition, -1, __FILE__, __LINE__); \
    } while (0)
#define OK(call) \
    do { \
        CUresult result_ = (call); \
        if (result_) failed(#call, result_, __FILE__, __LINE__); \
    } while (0)
/* That result and no other. */
#define IS(wanted, call) \
    do { \
        CUresult result_ = (call); \
        if (result_ != (wanted)) failed(#call " is not " #wanted, result_, __FILE__, __LINE__); \
    } while (0)

/* kernels.ptx, a string. */
extern const char kernels_ptx[];
__asm__(".pushsection .rodata\n.globl kernels_ptx\nkernels_ptx:\n.incbin \"kernels.ptx\"\n.byte 0\n.popsection");

static CUdevice device;
static CUcontext context;
static CUmodule module;

static CUfunction kernel(const char *name)
{
    CUfunction function;
    OK(cuModuleGetFunction(&function, module, name));
    return function;
}

static void open_device(void)
{
    OK(cuInit(0));
    OK(cuDeviceGet(&device, 0));
    OK(cuCtxCreate(&context, 0, device));
    OK(cuModuleLoadData(&module, kernels_ptx));
}

static void close_device(void)
{
    OK(cuCtxSynchronize());
    OK(cuModuleUnload(module));
    OK(cuCtxDestroy(context));
}

/* Of `kernels.cu`. */
static uint mixed(uint value)
{
    value = (value ^ (value >> 16)) * 0x7feb352du;
    value = (value ^ (value >> 15)) * 0x846ca68bu;
    return value ^ (value >> 16);
}

/* Launches with a thread for each of `count` words, in blocks of 64; the arguments are pointers to values. */
#define LAUNCH(function, count, stream, ...) \
    OK(cuLaunchKernel(function, (unsigned)(((count) + 63) / 64), 1, 1, 64, 1, 1, 0, stream, (void *[]){__VA_ARGS__}, NULL))

static void fill(CUdeviceptr at, uint64_t count, uint seed, CUstream stream)
{
    LAUNCH(kernel("fill"), count < 4096 ? count : 4096, stream, &at, &count, &seed);
}

static void advance(CUdeviceptr at, uint64_t count, uint by, CUstream stream)
{
    LAUNCH(kernel("advance"), count, stream, &at, &count, &by);
}

/* The same on the host. */
static void host_fill(uint *words, size_t count, uint seed)
{
    for (size_t i = 0; i < count; i++) words[i] = mixed((uint)i + seed);
}

static void host_advance(uint *words, size_t count, uint by)
{
    for (size_t i = 0; i < count; i++) words[i] = words[i] * 3 + by;
}

static uint64_t host_digest(const uint *words, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) sum += (uint64_t)mixed(words[i] ^ mixed((uint)i)) << (i & 15);
    return sum;
}

/* Of `count` words at `at`, read back. */
static uint64_t digest(CUdeviceptr at, size_t count)
{
    uint *words = malloc(count * 4 + 1);
    OK(cuMemcpyDtoH(words, at, count * 4));
    uint64_t sum = host_digest(words, count);
    free(words);
    return sum;
}

/* A generator of its own, so that every run does the same. */
static uint random_state = 1;

static uint drawn(uint below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

static long argument(int argc, char **argv, int place, long otherwise)
{
    return argc > place ? strtol(argv[place], NULL, 0) : otherwise;
}

static void sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&time, &time)) {}
}

#endif
