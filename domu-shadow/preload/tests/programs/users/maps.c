/* Three read maps of one offset with different sizes, unmapped in every order, with writes by kernels between. */
#include "user.h"

enum { WORDS = 4096 };

int main(void) {
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const size_t sizes[3] = {64, 4096, 1024};
    static cl_uint expected[WORDS], got[WORDS];
    open_device();
    cl_kernel kernel = advance_kernel();
    for (int kind = 0; kind < 2; kind++) {
        fill(expected, WORDS, kind + 1);
        cl_mem_flags flags = kind ? CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR : CL_MEM_COPY_HOST_PTR;
        cl_mem buffer = MAKE(clCreateBuffer, context, flags, sizeof expected, expected);
        for (int order = 0; order < 6; order++) {
            const cl_uint *maps[3];
            for (int i = 0; i < 3; i++) {
                maps[i] = MAKE(clEnqueueMapBuffer, queue, buffer, CL_TRUE, CL_MAP_READ, 256, sizes[i], 0, NULL, NULL);
                pass_time(7);
            }
            cl_uint count;
            OK(clFinish(queue));
            OK(clGetMemObjectInfo(buffer, CL_MEM_MAP_COUNT, sizeof count, &count, NULL));
            CHECK(count == 3);
            for (int i = 0; i < 3; i++) {
                int one = orders[order][i];
                for (int j = 0; j < 3; j++) {
                    int other = orders[order][j];
                    CHECK(j < i || !memcmp(maps[other], expected + 64, sizes[other]));
                }
                OK(clEnqueueUnmapMemObject(queue, buffer, (void *)maps[one], 0, NULL, NULL));
                pass_time(5);
            }
            OK(clFinish(queue));
            OK(clGetMemObjectInfo(buffer, CL_MEM_MAP_COUNT, sizeof count, &count, NULL));
            CHECK(count == 0);
            run(queue, kernel, buffer, order, WORDS);
            for (int i = 0; i < WORDS; i++) expected[i] = expected[i] * 3 + order;
            OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof got, got, 0, NULL, NULL));
            CHECK(!memcmp(got, expected, sizeof got));
        }
        printf("kind %d: %u\n", kind, got[WORDS - 1]);
        OK(clReleaseMemObject(buffer));
    }
    return 0;
}
