/* A library whose constructor uses OpenCL, which it does not depend on. */
#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdio.h>

__attribute__((constructor)) static void early(void) {
    cl_int (*ask)(cl_uint, cl_platform_id *, cl_uint *) =
        (cl_int(*)(cl_uint, cl_platform_id *, cl_uint *))dlsym(RTLD_DEFAULT, "clGetPlatformIDs");
    cl_uint count = 0;
    cl_int code = ask ? ask(0, NULL, &count) : -1;
    printf("%d, platforms: %u\n", code, count);
    fflush(stdout);
}
