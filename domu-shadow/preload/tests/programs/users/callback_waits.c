/* A callback that waits for another one, which comes later. */
#include "user.h"

enum { ROUNDS = 5 };

struct pair {
    sem_t second_came, first_ended;
};

static void CL_CALLBACK first(cl_event event, cl_int status, void *user) {
    (void)event;
    struct pair *pair = user;
    CHECK(status == CL_COMPLETE);
    while (sem_wait(&pair->second_came)) continue;
    sem_post(&pair->first_ended);
}

static void CL_CALLBACK second(cl_event event, cl_int status, void *user) {
    (void)event;
    struct pair *pair = user;
    CHECK(status == CL_COMPLETE);
    sem_post(&pair->second_came);
}

int main(void) {
    open_device();
    for (int round = 0; round < ROUNDS; round++) {
        struct pair *pair = malloc(sizeof *pair);
        sem_init(&pair->second_came, 0, 0);
        sem_init(&pair->first_ended, 0, 0);
        cl_event marker, user = MAKE(clCreateUserEvent, context);
        OK(clSetEventCallback(user, CL_COMPLETE, second, pair));
        OK(clEnqueueMarkerWithWaitList(queue, 0, NULL, &marker));
        OK(clSetEventCallback(marker, CL_COMPLETE, first, pair));
        OK(clFlush(queue));
        pass_time(20);
        OK(clSetUserEventStatus(user, CL_COMPLETE));
        while (sem_wait(&pair->first_ended)) continue;
        OK(clReleaseEvent(marker));
        OK(clReleaseEvent(user));
        printf("round %d\n", round);
    }
    return 0;
}
