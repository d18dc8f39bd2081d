/* A program that opens OpenCL itself and looks its functions up, beside a library that stands in for dlsym(3). */
#include "user.h"

#include <dlfcn.h>

int main(void) {
    atomic_int *calls = dlsym(RTLD_DEFAULT, "dlsym_hook_calls");
    CHECK(calls && *calls > 0);
    void *opencl = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!opencl) FAIL("%s", dlerror());
    CHECK(dlsym(opencl, "clEnqueueNDRangeKernel") == (void *)clEnqueueNDRangeKernel);
    open_device();
    cl_kernel kernel = advance_kernel();
    cl_uint expected[256], words[256];
    fill(expected, 256, 2);
    cl_mem buffer = MAKE(clCreateBuffer, context, CL_MEM_COPY_HOST_PTR, sizeof expected, expected);
    for (int round = 0; round < 30; round++) {
        __auto_type set = (cl_int(*)(cl_kernel, cl_uint, size_t, const void *))dlsym(opencl, "clSetKernelArg");
        OK(set(kernel, 0, sizeof buffer, &buffer));
        run(queue, kernel, buffer, round, 256);
        for (int i = 0; i < 256; i++) expected[i] = expected[i] * 3 + round;
    }
    OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof words, words, 0, NULL, NULL));
    CHECK(!memcmp(words, expected, sizeof words));
    printf("%u\n", words[0]);
    return 0;
}
