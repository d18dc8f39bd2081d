/* Opens libcuda.so.1 itself and looks functions up: by handle, by RTLD_DEFAULT, after closing and opening it again. Links nothing. */
#define _GNU_SOURCE
#include "cuda_min.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *cuda;

static void *symbol(void *from, const char *name)
{
    void *found = dlsym(from, name);
    if (!found) {
        fprintf(stderr, "no %s: %s\n", name, dlerror());
        exit(1);
    }
    return found;
}

#define NAME_OF(name) #name
#define FIND(name) ((__typeof__(&name))symbol(cuda, NAME_OF(name)))
#define OK(call) \
    do { \
        int result_ = (call); \
        if (result_) { \
            fprintf(stderr, "%s: %d\n", #call, result_); \
            exit(1); \
        } \
    } while (0)

int main(void)
{
    CUdevice device;
    CUcontext context;
    CUdeviceptr at, copy;
    unsigned words[1000];
    int version;
    cuda = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!cuda) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    OK(FIND(cuInit)(0));
    OK(FIND(cuDriverGetVersion)(&version));
    OK(FIND(cuDeviceGet)(&device, 0));
    OK(FIND(cuCtxCreate)(&context, 0, device));
    OK(FIND(cuMemAlloc)(&at, 3 << 19));
    OK(FIND(cuMemAlloc)(&copy, sizeof words));
    for (unsigned i = 0; i < 40; i++) {
        OK(FIND(cuMemsetD32)(at + i * 100, i, 25));
        OK(FIND(cuMemcpyDtoD)(copy, at, sizeof words));
    }
    /* Closed, and opened by other ways. */
    void *first = symbol(cuda, "cuMemcpyDtoH_v2");
    dlclose(cuda);
    cuda = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_GLOBAL);
    if (!cuda) return 1;
    int same = first == symbol(cuda, "cuMemcpyDtoH_v2");
    int everywhere = first == dlsym(RTLD_DEFAULT, "cuMemcpyDtoH_v2");
    OK(FIND(cuMemcpyDtoH)(words, copy, sizeof words));
    unsigned long long sum = 0;
    for (int i = 0; i < 1000; i++) sum = sum * 31 + words[i];
    printf("same: %d, by RTLD_DEFAULT: %d, sum %016llx\n", same, everywhere, sum);
    printf("unknown: %d\n", dlsym(cuda, "cuNoSuchFunction") != NULL);
    Dl_info info;
    if (!dladdr(first, &info) || !info.dli_sname) return 1;
    printf("%s\n", info.dli_sname);
    OK(FIND(cuMemFree)(at));
    OK(FIND(cuMemFree)(copy));
    OK(FIND(cuCtxDestroy)(context));
    return 0;
}
