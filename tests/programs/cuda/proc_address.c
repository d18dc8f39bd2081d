/* Finds everything by cuGetProcAddress, as the runtime does: versions, names that are not there, streams per thread. */
#include "cuda_min.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef CUresult (*find_fn)(const char *, void **, int, uint64_t, CUdriverProcAddressQueryResult *);
typedef CUresult (*find_v1_fn)(const char *, void **, int, uint64_t);
static find_fn find;
extern const char kernels_ptx[];
__asm__(".pushsection .rodata\n.globl kernels_ptx\nkernels_ptx:\n.incbin \"kernels.ptx\"\n.byte 0\n.popsection");

static void *function_of(const char *name, int version, uint64_t flags)
{
    void *function = NULL;
    CUdriverProcAddressQueryResult how = -1;
    CUresult result = find(name, &function, version, flags, &how);
    if (result || !function || how != CU_GET_PROC_ADDRESS_SUCCESS) {
        fprintf(stderr, "%s %d: %d, %d\n", name, version, result, (int)how);
        exit(1);
    }
    return function;
}

/* By the name without a version's suffix. */
#define AT(name, version) ((__typeof__(&name))function_of(#name, version, 0))
#define OK(call) \
    do { \
        int result_ = (call); \
        if (result_) { \
            fprintf(stderr, "%s: %d\n", #call, result_); \
            exit(1); \
        } \
    } while (0)

/* Names as the program writes them: the header's macros must not reach them. */
#undef cuCtxCreate
#undef cuMemAlloc
#undef cuMemFree
#undef cuMemcpyHtoD
#undef cuMemcpyDtoH
#undef cuCtxDestroy
#undef cuMemsetD32Async
typedef CUresult (*ctx_create_fn)(CUcontext *, unsigned, CUdevice);
typedef CUresult (*alloc_fn)(CUdeviceptr *, size_t);
typedef CUresult (*free_fn)(CUdeviceptr);
typedef CUresult (*read_fn)(void *, CUdeviceptr, size_t);
typedef CUresult (*set_fn)(CUdeviceptr, unsigned, size_t, CUstream);
typedef CUresult (*destroy_fn)(CUcontext);

int main(void)
{
    void *cuda = dlopen("libcuda.so.1", RTLD_NOW);
    if (!cuda) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    find = (find_fn)dlsym(cuda, "cuGetProcAddress_v2");
    find_v1_fn find_v1 = (find_v1_fn)dlsym(cuda, "cuGetProcAddress");
    if (!find || !find_v1) return 1;
    CUdevice device;
    CUcontext context;
    CUmodule module;
    CUfunction advance;
    CUdeviceptr at;
    enum { WORDS = 300000 };
    static unsigned words[WORDS];
    OK(AT(cuInit, 2000)(0));
    OK(AT(cuDeviceGet, 2000)(&device, 0));
    OK(((ctx_create_fn)function_of("cuCtxCreate", 3020, 0))(&context, 0, device));
    OK(AT(cuModuleLoadData, 2000)(&module, kernels_ptx));
    OK(AT(cuModuleGetFunction, 2000)(&advance, module, "advance"));
    OK(((alloc_fn)function_of("cuMemAlloc", 3020, 0))(&at, WORDS * 4));
    set_fn set = (set_fn)function_of("cuMemsetD32Async", 3020, 0);
    set_fn set_per_thread = (set_fn)function_of("cuMemsetD32Async", 7000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM);
    printf("per thread: %s\n", set == set_per_thread ? "the same" : "another");
    OK(set_per_thread(at, 7, WORDS, NULL));
    OK(AT(cuCtxSynchronize, 2000)());
    __typeof__(&cuLaunchKernel) launch = (__typeof__(&cuLaunchKernel))function_of("cuLaunchKernel", 4000, 0);
    for (unsigned by = 0; by < 60; by++) {
        uint64_t count = WORDS / 10;
        OK(launch(advance, (WORDS / 10 + 63) / 64, 1, 1, 64, 1, 1, 0, NULL, (void *[]){&at, &count, &by}, NULL));
    }
    OK(((read_fn)function_of("cuMemcpyDtoH", 3020, 0))(words, at, sizeof words));
    unsigned long long sum = 0;
    for (int i = 0; i < WORDS; i++) sum = sum * 31 + words[i];
    printf("sum: %016llx\n", sum);

    /* What is not there, and what an old version did not have. */
    void *function = &function;
    CUdriverProcAddressQueryResult how = -1;
    CUresult result = find("cuNoSuchFunction", &function, 12000, 0, &how);
    printf("unknown: %d, %d, %d\n", result, function != NULL, (int)how);
    function = &function;
    result = find("cuMemAllocAsync", &function, 4000, 0, &how);
    printf("too new: %d, %d, %d\n", result, function != NULL, (int)how);
    function = NULL;
    OK(find_v1("cuMemAllocAsync", &function, 11030, 0));
    printf("version 1: %d\n", function != NULL);
    /* By itself. */
    printf("itself: %d\n", function_of("cuGetProcAddress", 12000, 0) != NULL);
    /* The same function by both ways. */
    printf("dlsym's: %d\n", dlsym(cuda, "cuLaunchKernel") == function_of("cuLaunchKernel", 4000, 0));
    OK(((free_fn)function_of("cuMemFree", 3020, 0))(at));
    OK(((destroy_fn)function_of("cuCtxDestroy", 4000, 0))(context));
    return 0;
}
