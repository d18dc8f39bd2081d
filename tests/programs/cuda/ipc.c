/* Memory of one process used by another: ipc [ROUNDS] */
#include "user.h"
#include <sys/wait.h>

enum { WORDS = 1 << 20 };

static void child(int hear, int say)
{
    CUipcMemHandle handle;
    CUdeviceptr at;
    char byte = 0;
    open_device();
    CHECK(read(hear, &handle, sizeof handle) == sizeof handle);
    OK(cuIpcOpenMemHandle(&at, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    for (uint i = 0; i < 20; i++) advance(at, 1000, i, NULL);
    OK(cuCtxSynchronize());
    CHECK(write(say, &byte, 1) == 1 && read(hear, &byte, 1) == 1);
    OK(cuIpcCloseMemHandle(at));
    close_device();
    exit(0);
}

int main(int argc, char **argv)
{
    long rounds = argument(argc, argv, 1, 20);
    int down[2], up[2], status;
    CUipcMemHandle handle;
    CUdeviceptr at;
    char byte = 0;
    CHECK(!pipe(down) && !pipe(up));
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(down[1]);
        close(up[0]);
        child(down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    open_device();
    OK(cuMemAlloc(&at, WORDS * 4));
    fill(at, WORDS, 1, NULL);
    OK(cuCtxSynchronize());
    OK(cuIpcGetMemHandle(&handle, at));
    CHECK(write(down[1], &handle, sizeof handle) == sizeof handle);
    CHECK(read(up[0], &byte, 1) == 1);
    for (long i = 0; i < rounds; i++) advance(at, WORDS, i, NULL);
    OK(cuCtxSynchronize());
    CHECK(write(down[1], &byte, 1) == 1);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    printf("ipc: %016llx\n", (unsigned long long)digest(at, WORDS));
    OK(cuMemFree(at));
    close_device();
    return 0;
}
