/* Memory of another API, asked for with a descriptor that is none: the answer is the driver's, and the program goes on. */
#include "user.h"

enum { WORDS = 100000 };

int main(void)
{
    CUdeviceptr at;
    CUexternalMemory memory;
    open_device();
    OK(cuMemAlloc(&at, WORDS * 4));
    fill(at, WORDS, 1, NULL);
    for (uint i = 0; i < 20; i++) advance(at, WORDS, i, NULL);
    CUDA_EXTERNAL_MEMORY_HANDLE_DESC wanted = {.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD, .handle = {.fd = -1}, .size = 1 << 20};
    CUresult result = cuImportExternalMemory(&memory, &wanted);
    printf("external: %s\n", result ? "refused" : "taken");
    for (uint i = 0; i < 20; i++) advance(at, WORDS, i, NULL);
    printf("words: %016llx\n", (unsigned long long)digest(at, WORDS));
    if (!result) OK(cuDestroyExternalMemory(memory));
    OK(cuMemFree(at));
    close_device();
    return 0;
}
