/*
 * cuda-checkpoint: NVIDIA's checkpoint API (cuCheckpointProcess*, libcuda of driver 570 and later) on a CUDA program, for
 * comparison: how fast the vendor's own way takes the GPU state of a process away and brings it back.
 *
 *     cuda-checkpoint MIB
 *     cuda-checkpoint --pid PID
 *
 * A child fills that much device memory; the parent checkpoints and restores it; the child then checks samples of its
 * memory. --pid: a program that runs; whether it goes on well is for others to see. Prints JSON. Status 3: no libcuda, or one without the API. libcuda is opened at run time: no CUDA is needed to build it.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATTERN 0x5a17c0deu
#define SAMPLES 4096

typedef int (*init_fn)(unsigned);
typedef int (*device_fn)(int *, int);
typedef int (*context_fn)(void **, unsigned, int);
typedef int (*alloc_fn)(uint64_t *, size_t);
typedef int (*set_fn)(uint64_t, unsigned, size_t);
typedef int (*read_fn)(void *, uint64_t, size_t);
typedef int (*sync_fn)(void);
typedef int (*process_fn)(int, void *);

static void *cuda;

static void *symbol(const char *name)
{
    void *found = dlsym(cuda, name);
    if (!found) {
        fprintf(stderr, "libcuda has no %s\n", name);
        _exit(3);
    }
    return found;
}

static void check(int error, const char *call)
{
    if (error) {
        fprintf(stderr, "%s: CUDA error %d\n", call, error);
        _exit(2);
    }
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Says when it is ready, waits to be told to go on, and checks. */
static void child(size_t bytes, int say, int hear)
{
    int device;
    void *context;
    uint64_t memory;
    char byte = 'r';
    check(((init_fn)symbol("cuInit"))(0), "cuInit");
    check(((device_fn)symbol("cuDeviceGet"))(&device, 0), "cuDeviceGet");
    check(((context_fn)symbol("cuCtxCreate_v2"))(&context, 0, device), "cuCtxCreate");
    check(((alloc_fn)symbol("cuMemAlloc_v2"))(&memory, bytes), "cuMemAlloc");
    check(((set_fn)symbol("cuMemsetD32_v2"))(memory, PATTERN, bytes / 4), "cuMemsetD32");
    check(((sync_fn)symbol("cuCtxSynchronize"))(), "cuCtxSynchronize");
    if (write(say, &byte, 1) != 1 || read(hear, &byte, 1) != 1) _exit(2);
    for (size_t i = 0; i < SAMPLES; i++) {
        uint32_t word = 0;
        size_t at = (bytes / 4 - 1) * i / (SAMPLES - 1) * 4;
        check(((read_fn)symbol("cuMemcpyDtoH_v2"))(&word, memory + at, sizeof word), "cuMemcpyDtoH");
        if (word != PATTERN) {
            fprintf(stderr, "byte %zu is wrong after the restore\n", at);
            _exit(1);
        }
    }
    _exit(0);
}

struct times {
    double out, back;
};

/* Takes the process off the GPU and brings it back. */
static struct times there_and_back(int pid)
{
    process_fn lock = (process_fn)symbol("cuCheckpointProcessLock");
    process_fn checkpoint = (process_fn)symbol("cuCheckpointProcessCheckpoint");
    process_fn restore = (process_fn)symbol("cuCheckpointProcessRestore");
    process_fn unlock = (process_fn)symbol("cuCheckpointProcessUnlock");
    check(((init_fn)symbol("cuInit"))(0), "cuInit");
    double start = seconds();
    check(lock(pid, NULL), "cuCheckpointProcessLock");
    check(checkpoint(pid, NULL), "cuCheckpointProcessCheckpoint");
    double taken = seconds();
    check(restore(pid, NULL), "cuCheckpointProcessRestore");
    check(unlock(pid, NULL), "cuCheckpointProcessUnlock");
    return (struct times){taken - start, seconds() - taken};
}

int main(int argc, char **argv)
{
    int other = argc == 3 && !strcmp(argv[1], "--pid") ? atoi(argv[2]) : 0;
    size_t mib = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    if (!mib && other <= 0) {
        fprintf(stderr, "usage: cuda-checkpoint MIB | --pid PID\n");
        return 2;
    }
    cuda = dlopen("libcuda.so.1", RTLD_NOW);
    if (!cuda) {
        fprintf(stderr, "%s\n", dlerror());
        return 3;
    }
    if (other > 0) {
        struct times took = there_and_back(other);
        printf("{\"checkpoint_s\": %.4f, \"restore_s\": %.4f}\n", took.out, took.back);
        return 0;
    }
    int up[2], down[2];
    if (pipe(up) || pipe(down)) return 2;
    pid_t pid = fork();
    if (pid < 0) return 2;
    if (pid == 0) child(mib << 20, up[1], down[0]);
    close(up[1]);
    char byte;
    if (read(up[0], &byte, 1) == 1) {
        struct times took = there_and_back(pid);
        if (write(down[1], &byte, 1) != 1) return 2;
        double bytes = (double)(mib << 20);
        int status;
        if (waitpid(pid, &status, 0) != pid || status != 0) return 1;
        printf("{\"mib\": %zu, \"checkpoint_s\": %.4f, \"checkpoint_gb_s\": %.3f, \"restore_s\": %.4f, \"restore_gb_s\": %.3f}\n", mib,
               took.out, bytes / took.out / 1e9, took.back, bytes / took.back / 1e9);
        return 0;
    }
    int status;
    if (waitpid(pid, &status, 0) == pid && WIFEXITED(status)) return WEXITSTATUS(status);
    return 2;
}
