/* Children by fork at random moments, of a thread that computes and of one that has nothing to do with OpenCL. On a driver that works in
   a child they go on with what they inherited, and with a context of their own. Those that the second thread forks in the middle of
   a move may have no OpenCL; then every call says so. None hangs. */
#include "user.h"

#include <signal.h>
#include <sys/wait.h>

enum { WORDS = 512, CHILDREN = 20, BEREFT = 77, HANGS = 100 };

static cl_kernel kernel;
static cl_mem buffer;
static cl_uint expected[WORDS];
static atomic_int ended;

static void CL_CALLBACK called(cl_event event, cl_int status, void *user) {
    (void)event;
    CHECK(status == CL_COMPLETE);
    sem_post(user);
}

static void compute(int rounds) {
    cl_uint words[WORDS];
    for (int round = 0; round < rounds; round++) {
        run(queue, kernel, buffer, round, WORDS);
        for (int i = 0; i < WORDS; i++) expected[i] = expected[i] * 3 + round;
        OK(clFinish(queue));
    }
    OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof words, words, 0, NULL, NULL));
    CHECK(!memcmp(words, expected, sizeof words));
}

static void call_back(void) {
    sem_t came;
    sem_init(&came, 0, 0);
    cl_event event = MAKE(clCreateUserEvent, context);
    OK(clSetEventCallback(event, CL_COMPLETE, called, &came));
    OK(clSetUserEventStatus(event, CL_COMPLETE));
    while (sem_wait(&came)) continue;
    OK(clReleaseEvent(event));
}

static void open_anew(void) {
    open_device();
    kernel = advance_kernel();
    fill(expected, WORDS, 6);
    buffer = MAKE(clCreateBuffer, context, CL_MEM_COPY_HOST_PTR, sizeof expected, expected);
}

static int status_of(pid_t child) {
    int status;
    while (waitpid(child, &status, 0) < 0) continue;
    if (WIFSIGNALED(status)) FAIL("a child ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

static pid_t forked(void) {
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) alarm(HANGS);
    return child;
}

static void *bystander(void *user) {
    int *whole = user;
    while (!ended) {
        pid_t child = forked();
        if (!child) {
            cl_uint number;
            cl_int code = clGetPlatformIDs(0, NULL, &number);
            cl_mem own = clCreateBuffer(context, CL_MEM_READ_WRITE, 64, NULL, NULL);
            CHECK(!code == !!own);
            CHECK(!code || code == CL_OUT_OF_RESOURCES);
            _exit(code ? BEREFT : 0);
        }
        int status = status_of(child);
        CHECK(status == 0 || status == BEREFT);
        *whole += !status;
        usleep(1000);
    }
    return NULL;
}

int main(void) {
    pthread_t thread;
    int whole = 0;
    open_anew();
    CHECK(!pthread_create(&thread, NULL, bystander, &whole));
    for (int i = 0; i < CHILDREN; i++) {
        compute(3);
        pid_t child = forked();
        if (!child) {
            compute(5);
            call_back();
            open_anew();
            compute(5);
            pass_time(200);
            _exit(0);
        }
        compute(i % 3);
        CHECK(status_of(child) == 0);
    }
    call_back();
    ended = 1;
    pthread_join(thread, NULL);
    CHECK(whole > 0);
    printf("%d children\n", CHILDREN);
    return 0;
}
