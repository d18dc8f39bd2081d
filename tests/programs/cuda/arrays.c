/* Arrays of one, two and three dimensions: copied in, out, and among themselves. */
#include "user.h"

enum { W = 96, H = 50, D = 7 };

static void line(void)
{
    CUDA_ARRAY_DESCRIPTOR shape = {.Width = 5000, .Format = CU_AD_FORMAT_UNSIGNED_INT32, .NumChannels = 1}, told;
    CUarray array;
    uint host[5000], back[5000];
    OK(cuArrayCreate(&array, &shape));
    host_fill(host, 5000, 1);
    OK(cuMemcpyHtoA(array, 0, host, sizeof host));
    OK(cuArrayGetDescriptor(&told, array));
    CHECK(told.Width == 5000 && told.NumChannels == 1 && told.Format == shape.Format);
    for (int i = 0; i < 20; i++) {
        host[i * 50] = i;
        OK(cuMemcpyHtoA(array, i * 200, &host[i * 50], 4));
    }
    OK(cuMemcpyAtoH(back, array, 0, sizeof back));
    CHECK(!memcmp(host, back, sizeof host));
    CUdeviceptr at;
    OK(cuMemAlloc(&at, sizeof host));
    OK(cuMemcpyAtoD(at, array, 400, 4000));
    printf("line: %016llx\n", (unsigned long long)digest(at, 1000));
    OK(cuMemFree(at));
    OK(cuArrayDestroy(array));
}

static void plane(void)
{
    CUDA_ARRAY_DESCRIPTOR shape = {.Width = W, .Height = H, .Format = CU_AD_FORMAT_UNSIGNED_INT8, .NumChannels = 4};
    CUarray array;
    uint *host = malloc(W * H * 4), *back = calloc(W * H, 4);
    OK(cuArrayCreate(&array, &shape));
    host_fill(host, W * H, 2);
    CUDA_MEMCPY2D in = {.srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = host, .srcPitch = W * 4, .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                        .dstArray = array, .WidthInBytes = W * 4, .Height = H};
    CUDA_MEMCPY2D out = {.srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = array, .dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = back,
                         .dstPitch = W * 4, .WidthInBytes = W * 4, .Height = H};
    OK(cuMemcpy2D(&in));
    /* A part of it. */
    host_fill(host + 10 * W, W, 3);
    in.srcY = in.dstY = 10;
    in.Height = 1;
    OK(cuMemcpy2D(&in));
    OK(cuMemcpy2D(&out));
    CHECK(!memcmp(host, back, W * H * 4));
    printf("plane: %016llx\n", (unsigned long long)host_digest(back, W * H));
    OK(cuArrayDestroy(array));
    free(host);
    free(back);
}

static void space(void)
{
    CUDA_ARRAY3D_DESCRIPTOR shape = {.Width = W, .Height = H, .Depth = D, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1};
    CUarray first, second;
    size_t words = W * H * D;
    uint *host = malloc(words * 4), *back = calloc(words, 4);
    OK(cuArray3DCreate(&first, &shape));
    OK(cuArray3DCreate(&second, &shape));
    host_fill(host, words, 4);
    CUDA_MEMCPY3D in = {.srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = host, .srcPitch = W * 4, .srcHeight = H,
                        .dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = first, .WidthInBytes = W * 4, .Height = H, .Depth = D};
    CUDA_MEMCPY3D across = {.srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = first, .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                            .dstArray = second, .WidthInBytes = W * 4, .Height = H, .Depth = D};
    CUDA_MEMCPY3D out = {.srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = second, .dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = back,
                         .dstPitch = W * 4, .dstHeight = H, .WidthInBytes = W * 4, .Height = H, .Depth = D};
    for (int round = 0; round < 4; round++) {
        host_advance(host, words, round);
        OK(cuMemcpy3D(&in));
        OK(cuMemcpy3D(&across));
        OK(cuMemcpy3D(&out));
        CHECK(!memcmp(host, back, words * 4));
    }
    printf("space: %016llx\n", (unsigned long long)host_digest(back, words));
    OK(cuArrayDestroy(first));
    OK(cuArrayDestroy(second));
    free(host);
    free(back);
}

int main(void)
{
    open_device();
    for (int round = 0; round < 3; round++) {
        line();
        plane();
        space();
    }
    close_device();
    return 0;
}
