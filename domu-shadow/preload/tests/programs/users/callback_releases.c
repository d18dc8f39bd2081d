/* Callbacks that release their own events, the program's last references to them. */
#include "user.h"

enum { EVENTS = 200 };

static atomic_int released;

static void CL_CALLBACK done(cl_event event, cl_int status, void *user) {
    (void)user;
    CHECK(status == CL_COMPLETE);
    cl_command_type type;
    OK(clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, sizeof type, &type, NULL));
    OK(clReleaseEvent(event));
    released++;
}

int main(void) {
    open_device();
    cl_uint words[64];
    cl_mem buffer = MAKE(clCreateBuffer, context, CL_MEM_READ_WRITE, sizeof words, NULL);
    for (int i = 0; i < EVENTS; i++) {
        cl_event event;
        switch (i % 3) {
        case 0:
            OK(clEnqueueMarkerWithWaitList(queue, 0, NULL, &event));
            OK(clSetEventCallback(event, CL_COMPLETE, done, NULL));
            break;
        case 1:
            fill(words, 64, i);
            OK(clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, sizeof words, words, 0, NULL, &event));
            OK(clSetEventCallback(event, CL_COMPLETE, done, NULL));
            break;
        default:
            event = MAKE(clCreateUserEvent, context);
            OK(clSetEventCallback(event, CL_COMPLETE, done, NULL));
            OK(clSetUserEventStatus(event, CL_COMPLETE));
        }
    }
    OK(clFinish(queue));
    while (released < EVENTS) pass_time(1);
    OK(clReleaseMemObject(buffer));
    OK(clReleaseCommandQueue(queue));
    OK(clReleaseContext(context));
    printf("%d events\n", released);
    return 0;
}
