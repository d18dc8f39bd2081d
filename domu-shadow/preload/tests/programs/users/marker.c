/* Markers that are never flushed: some asked for their status once, none waited for. */
#include "user.h"

enum { ROUNDS = 60 };

int main(void) {
    open_device();
    cl_command_queue beside = MAKE(clCreateCommandQueueWithProperties, context, device, NULL);
    cl_kernel kernel = advance_kernel();
    cl_uint words[256], expected[256];
    fill(expected, 256, 1);
    cl_mem buffer = MAKE(clCreateBuffer, context, CL_MEM_COPY_HOST_PTR, sizeof expected, expected);
    for (int round = 0; round < ROUNDS; round++) {
        cl_event marker;
        cl_int status;
        OK(clEnqueueMarkerWithWaitList(beside, 0, NULL, &marker));
        run(queue, kernel, buffer, round, 256);
        for (int i = 0; i < 256; i++) expected[i] = expected[i] * 3 + round;
        OK(clGetEventInfo(marker, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL));
        CHECK(status >= CL_COMPLETE && status <= CL_QUEUED);
        if (round % 2) OK(clReleaseEvent(marker));
    }
    OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof words, words, 0, NULL, NULL));
    CHECK(!memcmp(words, expected, sizeof words));
    printf("%u\n", words[255]);
    return 0;
}
