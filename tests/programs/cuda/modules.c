/* Modules with variables of their own, the same one loaded twice, unloaded and loaded again, and as a library: modules [ROUNDS] */
#include "user.h"

/* As many as there are counters: each has one thread. */
enum { WORDS = 1024 };

struct loaded {
    CUmodule module;
    CUfunction run;
    CUdeviceptr counters, keeper, factor, kept;
};

static struct loaded load(uint factor)
{
    struct loaded own;
    size_t bytes;
    OK(cuModuleLoadDataEx(&own.module, kernels_ptx, 0, NULL, NULL));
    OK(cuModuleGetFunction(&own.run, own.module, "with_globals"));
    OK(cuModuleGetGlobal(&own.counters, &bytes, own.module, "counters"));
    CHECK(bytes == 4096);
    OK(cuModuleGetGlobal(&own.keeper, &bytes, own.module, "keeper"));
    CHECK(bytes == 8);
    OK(cuModuleGetGlobal(&own.factor, &bytes, own.module, "factor"));
    CHECK(bytes == 4);
    uint was;
    OK(cuMemcpyDtoH(&was, own.factor, 4));
    CHECK(was == 3);
    OK(cuMemcpyHtoD(own.factor, &factor, 4));
    OK(cuMemAlloc(&own.kept, 4));
    OK(cuMemsetD32(own.kept, 0, 1));
    /* An address in a variable. */
    OK(cuMemcpyHtoD(own.keeper, &own.kept, 8));
    return own;
}

static uint unload(struct loaded *own)
{
    uint kept;
    OK(cuMemcpyDtoH(&kept, own->kept, 4));
    OK(cuMemFree(own->kept));
    OK(cuModuleUnload(own->module));
    return kept;
}

int main(int argc, char **argv)
{
    long rounds = argument(argc, argv, 1, 10);
    CUdeviceptr at;
    uint64_t words = WORDS;
    open_device();
    OK(cuMemAlloc(&at, WORDS * 4));
    OK(cuMemsetD32(at, 1, WORDS));
    struct loaded first = load(5), second = load(7);
    CHECK(first.counters != second.counters);
    int attribute;
    OK(cuFuncGetAttribute(&attribute, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, first.run));
    CHECK(attribute >= 64);
    IS(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&(CUfunction){0}, first.module, "no_such_kernel"));
    for (long round = 0; round < rounds; round++) {
        LAUNCH(first.run, WORDS, NULL, &at, &words);
        LAUNCH(second.run, WORDS, NULL, &at, &words);
        if (round % 4 == 3) {
            printf("kept %u\n", unload(&first));
            first = load(5 + round);
        }
    }
    printf("first: %016llx, second: %016llx\n", (unsigned long long)digest(first.counters, 1024),
           (unsigned long long)digest(second.counters, 1024));
    printf("words: %016llx, kept %u\n", (unsigned long long)digest(at, WORDS), unload(&first));
    printf("kept %u\n", unload(&second));

    CUlibrary library;
    CUresult loaded = cuLibraryLoadData(&library, kernels_ptx, NULL, NULL, 0, NULL, NULL, 0);
    if (loaded == CUDA_SUCCESS) {
        CUkernel grow;
        CUfunction function;
        CUdeviceptr counters;
        size_t bytes;
        OK(cuLibraryGetKernel(&grow, library, "advance"));
        OK(cuKernelGetFunction(&function, grow));
        OK(cuLibraryGetGlobal(&counters, &bytes, library, "counters"));
        OK(cuMemsetD32(counters, 3, 1024));
        for (uint by = 0; by < 10; by++) LAUNCH(function, WORDS, NULL, &at, &words, &by);
        /* A kernel's handle does for a function's. */
        for (uint by = 0; by < 10; by++) LAUNCH((CUfunction)grow, WORDS, NULL, &at, &words, &by);
        printf("library: %016llx %016llx\n", (unsigned long long)digest(at, WORDS), (unsigned long long)digest(counters, 1024));
        OK(cuLibraryUnload(library));
    } else {
        printf("library: %d\n", loaded);
    }
    /* What is no PTX. */
    CHECK(cuModuleLoadData(&(CUmodule){0}, "this is not PTX") != CUDA_SUCCESS);
    OK(cuMemFree(at));
    close_device();
    return 0;
}
