/* Memory of one process used by another: ipc [ROUNDS] */
#include "user.h"
#include <sys/wait.h>

enum { WORDS = 1 << 20, SMALL = 1 << 14, OWN = 1 << 19, PART = 1 << 14, TOUCHED = 1000 };

struct handles {
    CUipcMemHandle large, inside, small;
};

struct digests {
    uint64_t large, small;
};

static void say(int to, const void *what, size_t size)
{
    CHECK(write(to, what, size) == (ssize_t)size);
}

static void hear(int from, void *what, size_t size)
{
    CHECK(read(from, what, size) == (ssize_t)size);
}

static void work(CUdeviceptr at, long rounds)
{
    for (long i = 0; i < rounds; i++) {
        advance(at, PART, i, NULL);
        OK(cuCtxSynchronize());
    }
}

/* The process that has the memory. What moves it is counted in a file of its own. */
static void exporter(int from, int to, long rounds)
{
    const char *report = getenv("XL_GPU_STORM_REPORT");
    char file[4096], byte;
    CUdeviceptr large, small, opened;
    struct handles handles;
    if (report) {
        snprintf(file, sizeof file, "%s.exporter", report);
        setenv("XL_GPU_STORM_REPORT", file, 1);
    }
    open_device();
    OK(cuMemAlloc(&large, WORDS * 4));
    OK(cuMemAlloc(&small, SMALL * 4));
    fill(large, WORDS, 1, NULL);
    fill(small, SMALL, 2, NULL);
    OK(cuCtxSynchronize());
    OK(cuIpcGetMemHandle(&handles.large, large));
    OK(cuIpcGetMemHandle(&handles.inside, large + 4096));
    OK(cuIpcGetMemHandle(&handles.small, small));
    IS(CUDA_ERROR_INVALID_CONTEXT, cuIpcOpenMemHandle(&opened, handles.large, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    say(to, &handles, sizeof handles);
    hear(from, &byte, 1);
    work(large, rounds);
    struct digests digests = {digest(large, WORDS), digest(small, SMALL)};
    say(to, &digests, sizeof digests);
    hear(from, &byte, 1);
    OK(cuMemFree(large));
    OK(cuMemFree(small));
    close_device();
    exit(0);
}

static void same(CUdeviceptr large, CUdeviceptr small, struct digests digests)
{
    CHECK(digest(large, WORDS) == digests.large);
    CHECK(digest(small, SMALL) == digests.small);
}

int main(int argc, char **argv)
{
    long rounds = argument(argc, argv, 1, 20);
    int down[2], up[2], status;
    struct handles handles;
    struct digests digests;
    CUdeviceptr large, again, small, own, base;
    size_t size;
    unsigned on_device;
    char byte = 0;
    CHECK(!pipe(down) && !pipe(up));
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(down[1]);
        close(up[0]);
        exporter(down[0], up[1], rounds);
    }
    close(down[0]);
    close(up[1]);
    open_device();
    OK(cuMemAlloc(&own, OWN * 4));
    fill(own, OWN, 3, NULL);
    work(own, rounds);
    hear(up[0], &handles, sizeof handles);

    OK(cuIpcOpenMemHandle(&large, handles.large, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    OK(cuIpcOpenMemHandle(&small, handles.small, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    /* The handle of an address inside is that of the whole; it is mapped once and closed as often as it was opened. */
    OK(cuIpcOpenMemHandle(&again, handles.inside, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    CHECK(again == large);
    CHECK(cuIpcOpenMemHandle(&again, handles.large, 0) == CUDA_ERROR_INVALID_VALUE);
    OK(cuMemGetAddressRange(&base, &size, large + 4096));
    CHECK(base == large && size == WORDS * 4);
    OK(cuPointerGetAttribute(&on_device, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, large));
    CHECK(on_device == CU_MEMORYTYPE_DEVICE);
    CHECK(cuMemFree(large) != CUDA_SUCCESS);
    CHECK(cuIpcGetMemHandle(&handles.inside, large) != CUDA_SUCCESS);
    CUipcMemHandle wrong = handles.large;
    for (unsigned i = 8; i < sizeof wrong; i++) ((unsigned char *)&wrong)[i] ^= 0xff;
    CHECK(cuIpcOpenMemHandle(&again, wrong, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) != CUDA_SUCCESS);

    for (uint i = 0; i < 20; i++) advance(large, TOUCHED, i, NULL);
    for (uint i = 0; i < 20; i++) advance(small, TOUCHED, i, NULL);
    OK(cuCtxSynchronize());
    say(down[1], &byte, 1);
    hear(up[0], &digests, sizeof digests);
    same(large, small, digests);

    /* The other process ends first. */
    say(down[1], &byte, 1);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    same(large, small, digests);
    OK(cuIpcCloseMemHandle(large));
    same(large, small, digests);
    OK(cuIpcCloseMemHandle(large));
    OK(cuIpcCloseMemHandle(small));
    CHECK(cuIpcCloseMemHandle(large) != CUDA_SUCCESS);
    CHECK(cuIpcOpenMemHandle(&large, handles.large, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) != CUDA_SUCCESS);

    work(own, rounds);
    printf("ipc: %016llx %016llx %016llx\n", (unsigned long long)digests.large, (unsigned long long)digests.small,
           (unsigned long long)digest(own, OWN));
    OK(cuMemFree(own));
    close_device();
    return 0;
}
