/* Sixteen commands on two queues, each behind a user event that the callback of the one before sets. The last event is waited for,
   and everything is released at once, while the callback may still be in its call. */

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LINKS = 16, WORDS = 1024, ROUNDS = 300, ENDS = LINKS - 1 };

static void ok(cl_int code, const char *what) {
    if (code != CL_SUCCESS) {
        printf("%s: %d\n", what, code);
        fflush(stdout);
        _exit(1);
    }
}
#define OK(call) ok(call, #call)

static cl_event set_by[LINKS];
static int order[LINKS];
static int called;

static void CL_CALLBACK next(cl_event event, cl_int status, void *data) {
    (void)event;
    intptr_t link = (intptr_t)data;
    int place = __atomic_fetch_add(&called, 1, __ATOMIC_SEQ_CST);
    if (place < LINKS)
        order[place] = status == CL_COMPLETE ? (int)link : -1;
    OK(clSetUserEventStatus(set_by[link], CL_COMPLETE));
}

int main(void) {
    alarm(120);
    cl_platform_id platform;
    cl_device_id device;
    cl_int code;
    OK(clGetPlatformIDs(1, &platform, NULL));
    OK(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL));
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    OK(code);
    cl_command_queue queues[2];
    for (int i = 0; i < 2; i++) {
        queues[i] = clCreateCommandQueueWithProperties(context, device, NULL, &code);
        OK(code);
    }
    for (cl_uint round = 0; round < ROUNDS; round++) {
        cl_mem buffer = clCreateBuffer(context, 0, WORDS * 4, NULL, &code);
        OK(code);
        cl_event ended[LINKS];
        called = 0;
        for (int i = 0; i < LINKS; i++) {
            set_by[i] = clCreateUserEvent(context, &code);
            OK(code);
        }
        for (int i = 0; i < LINKS; i++) {
            cl_uint value = round + i;
            size_t bytes = WORDS * 4 / LINKS;
            OK(clEnqueueFillBuffer(queues[i % 2], buffer, &value, 4, i * bytes, bytes, i > 0, i > 0 ? &set_by[i - 1] : NULL,
                                   &ended[i]));
            OK(clSetEventCallback(ended[i], CL_COMPLETE, next, (void *)(intptr_t)i));
            OK(clFlush(queues[i % 2]));
        }
        OK(clWaitForEvents(1, &set_by[ENDS]));
        OK(clFinish(queues[0]));
        OK(clFinish(queues[1]));
        cl_uint words[WORDS];
        OK(clEnqueueReadBuffer(queues[0], buffer, CL_TRUE, 0, sizeof words, words, 0, NULL, NULL));
        for (int i = 0; i < WORDS; i++)
            if (words[i] != round + i / (WORDS / LINKS)) {
                printf("round %u: word %d is %u\n", round, i, words[i]);
                return 1;
            }
        for (int i = 0; i < LINKS; i++) {
            if (order[i] != i) {
                printf("round %u: callback %d was that of %d\n", round, i, order[i]);
                return 1;
            }
            OK(clReleaseEvent(set_by[i]));
            OK(clReleaseEvent(ended[i]));
        }
        OK(clReleaseMemObject(buffer));
    }
    for (int i = 0; i < 2; i++)
        OK(clReleaseCommandQueue(queues[i]));
    OK(clReleaseContext(context));
    return 0;
}
