/* Children that do not use CUDA, by fork, vfork-like system() and posix_spawn, at any moment, also beside working threads: forks [CHILDREN] */
#include "user.h"
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;
static volatile int over;
enum { WORDS = 50000 };

static void *works(void *user)
{
    CUdeviceptr at;
    uint round = 0;
    (void)user;
    OK(cuCtxSetCurrent(context));
    OK(cuMemAlloc(&at, 2 << 20));
    while (!over) {
        OK(cuMemsetD32(at, round++, WORDS));
        uint64_t sum = digest(at, WORDS);
        uint *expected = malloc(WORDS * 4);
        for (int i = 0; i < WORDS; i++) expected[i] = round - 1;
        CHECK(sum == host_digest(expected, WORDS));
        free(expected);
    }
    OK(cuMemFree(at));
    return NULL;
}

int main(int argc, char **argv)
{
    int children = argument(argc, argv, 1, 12);
    pthread_t thread;
    CUdeviceptr at;
    open_device();
    OK(cuMemAlloc(&at, WORDS * 4));
    fill(at, WORDS, 1, NULL);
    CHECK(!pthread_create(&thread, NULL, works, NULL));
    int codes = 0;
    for (int i = 0; i < children; i++) {
        int status;
        pid_t child;
        advance(at, WORDS, i, NULL);
        if (i % 3 == 2) {
            char number[16], *command[] = {"sh", "-c", "exit $0", number, NULL};
            snprintf(number, sizeof number, "%d", i);
            CHECK(!posix_spawnp(&child, "sh", NULL, NULL, command, environ));
        } else {
            child = fork();
            CHECK(child >= 0);
            if (child == 0) {
                /* Its own work; handlers run at the end of some. */
                char *own = malloc(1 << 16);
                memset(own, i, 1 << 16);
                fclose(stdout);
                if (i % 3) exit(own[77]);
                _exit(own[77]);
            }
        }
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
        codes += WEXITSTATUS(status);
    }
    over = 1;
    pthread_join(thread, NULL);
    printf("codes %d: %016llx\n", codes, (unsigned long long)digest(at, WORDS));
    OK(cuMemFree(at));
    close_device();
    return 0;
}
