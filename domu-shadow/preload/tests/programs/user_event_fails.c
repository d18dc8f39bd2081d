/* Four tasks behind a user event that is set, then four behind one that fails; over and over. Nothing else is in the queue. */

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <stdio.h>
#include <unistd.h>

enum { TASKS = 4, ROUNDS = 60 };

static void ok(cl_int code, const char *what) {
    if (code != CL_SUCCESS) {
        printf("%s: %d\n", what, code);
        fflush(stdout);
        _exit(1);
    }
}
#define OK(call) ok(call, #call)

int main(void) {
    alarm(120);
    cl_platform_id platform;
    cl_device_id device;
    cl_int code;
    OK(clGetPlatformIDs(1, &platform, NULL));
    OK(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL));
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    OK(code);
    cl_command_queue queue = clCreateCommandQueueWithProperties(context, device, NULL, &code);
    OK(code);
    const char *source = "kernel void plus(global uint *a) { a[0] += 1; }";
    cl_program program = clCreateProgramWithSource(context, 1, &source, NULL, &code);
    OK(code);
    OK(clBuildProgram(program, 0, NULL, NULL, NULL, NULL));
    cl_kernel kernel = clCreateKernel(program, "plus", &code);
    OK(code);
    cl_uint count = 0;
    cl_mem buffer = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, sizeof count, &count, &code);
    OK(code);
    OK(clSetKernelArg(kernel, 0, sizeof buffer, &buffer));
    for (int round = 0; round < ROUNDS; round++)
        for (int fails = 0; fails < 2; fails++) {
            size_t one = 1;
            cl_event ended[TASKS], user = clCreateUserEvent(context, &code);
            OK(code);
            for (int i = 0; i < TASKS; i++)
                OK(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, NULL, 1, &user, &ended[i]));
            OK(clSetUserEventStatus(user, fails ? -1 : CL_COMPLETE));
            code = clWaitForEvents(1, &ended[TASKS - 1]);
            if (code != (fails ? CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST : CL_SUCCESS)) {
                printf("round %d: clWaitForEvents: %d\n", round, code);
                return 1;
            }
            for (int i = 0; i < TASKS; i++)
                OK(clReleaseEvent(ended[i]));
            OK(clReleaseEvent(user));
        }
    OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof count, &count, 0, NULL, NULL));
    if (count != TASKS * ROUNDS) {
        printf("%u tasks have run\n", count);
        return 1;
    }
    OK(clReleaseMemObject(buffer));
    OK(clReleaseKernel(kernel));
    OK(clReleaseProgram(program));
    OK(clReleaseCommandQueue(queue));
    OK(clReleaseContext(context));
    return 0;
}
