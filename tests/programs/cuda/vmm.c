/* The program's own mappings: reserved ranges that grow, holes, several maps of one allocation, access taken and given, handles given
   out and taken in inside the process: vmm [MIB OF A PIECE] */
#include "user.h"

static size_t piece;
static CUmemAllocationProp ours;
static CUmemAccessDesc all, reading;

static CUmemGenericAllocationHandle made(const CUmemAllocationProp *prop)
{
    CUmemGenericAllocationHandle handle;
    OK(cuMemCreate(&handle, piece, prop, 0));
    return handle;
}

static void grow(void)
{
    /* As an arena does: one range, pieces mapped one by one and released at once, so that the map alone holds them. */
    enum { PIECES = 6 };
    CUdeviceptr range;
    OK(cuMemAddressReserve(&range, PIECES * piece, 0, 0, 0));
    for (int i = 0; i < PIECES; i++) {
        CUmemGenericAllocationHandle handle = made(&ours);
        OK(cuMemMap(range + i * piece, piece, 0, handle, 0));
        OK(cuMemSetAccess(range + i * piece, piece, &all, 1));
        OK(cuMemRelease(handle));
        fill(range + i * piece, piece / 4, i, NULL);
    }
    /* Across the seams. */
    advance(range + piece - 4096, 2048 * (PIECES - 4), 9, NULL);
    printf("grown: %016llx\n", (unsigned long long)digest(range, PIECES * piece / 4));
    /* A hole, filled again; the rest keeps its contents. */
    OK(cuMemUnmap(range + 2 * piece, piece));
    IS(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH(&(uint){0}, range + 2 * piece, 4));
    uint64_t around = digest(range, 2 * piece / 4) + digest(range + 3 * piece, 3 * piece / 4);
    CUmemGenericAllocationHandle handle = made(&ours);
    OK(cuMemMap(range + 2 * piece, piece, 0, handle, 0));
    OK(cuMemSetAccess(range, PIECES * piece, &all, 1));
    OK(cuMemRelease(handle));
    fill(range + 2 * piece, piece / 4, 77, NULL);
    printf("filled: %016llx\n", (unsigned long long)(digest(range + 2 * piece, piece / 4) + around));
    /* Some at once, some one by one. */
    OK(cuMemUnmap(range, 3 * piece));
    for (int i = 3; i < PIECES; i++) OK(cuMemUnmap(range + i * piece, piece));
    OK(cuMemAddressFree(range, PIECES * piece));
}

static void shared_maps(void)
{
    /* One allocation at two places: what is written here is read there. */
    CUmemGenericAllocationHandle handle = made(&ours), again;
    CUdeviceptr here, there;
    OK(cuMemAddressReserve(&here, piece, 0, 0, 0));
    OK(cuMemAddressReserve(&there, 2 * piece, 0, 0, 0));
    OK(cuMemMap(here, piece, 0, handle, 0));
    OK(cuMemSetAccess(here, piece, &all, 1));
    fill(here, piece / 4, 5, NULL);
    OK(cuMemMap(there + piece, piece, 0, handle, 0));
    OK(cuMemSetAccess(there + piece, piece, &reading, 1));
    for (uint i = 0; i < 5; i++) {
        advance(here, piece / 4, i, NULL);
        OK(cuCtxSynchronize());
        CHECK(digest(here, 1024) == digest(there + piece, 1024));
    }
    unsigned long long flags;
    OK(cuMemGetAccess(&flags, &all.location, here));
    CHECK(flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    OK(cuMemGetAccess(&flags, &all.location, there + piece));
    CHECK(flags == CU_MEM_ACCESS_FLAGS_PROT_READ);
    printf("twice: %016llx\n", (unsigned long long)digest(there + piece, piece / 4));
    OK(cuMemSetAccess(there + piece, piece, &all, 1));
    advance(there + piece, piece / 4, 3, NULL);
    printf("and back: %016llx\n", (unsigned long long)digest(here, piece / 4));
    /* The first map goes; the second, and the handle, still have it. */
    OK(cuMemUnmap(here, piece));
    OK(cuMemRetainAllocationHandle(&again, (void *)(uintptr_t)(there + piece)));
    CHECK(again == handle);
    OK(cuMemRelease(handle));
    OK(cuMemUnmap(there + piece, piece));
    OK(cuMemMap(there, piece, 0, again, 0));
    OK(cuMemSetAccess(there, piece, &all, 1));
    printf("moved: %016llx\n", (unsigned long long)digest(there, piece / 4));
    CUmemAllocationProp told;
    OK(cuMemGetAllocationPropertiesFromHandle(&told, again));
    CHECK(told.type == ours.type && told.location.type == ours.location.type && told.location.id == ours.location.id);
    OK(cuMemUnmap(there, piece));
    /* Held by its handle alone for a while. */
    for (int i = 0; i < 20; i++) OK(cuCtxSynchronize());
    OK(cuMemMap(here, piece, 0, again, 0));
    OK(cuMemSetAccess(here, piece, &reading, 1));
    printf("kept: %016llx\n", (unsigned long long)digest(here, piece / 4));
    OK(cuMemUnmap(here, piece));
    OK(cuMemRelease(again));
    OK(cuMemAddressFree(here, piece));
    OK(cuMemAddressFree(there, 2 * piece));
}

static void given_out(void)
{
    /* As a descriptor, taken in by the same process. */
    CUmemAllocationProp prop = ours;
    prop.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    CUmemGenericAllocationHandle handle = made(&prop), taken;
    CUdeviceptr first, second;
    int file;
    OK(cuMemAddressReserve(&first, piece, 0, 0, 0));
    OK(cuMemAddressReserve(&second, piece, 0, 0, 0));
    OK(cuMemMap(first, piece, 0, handle, 0));
    OK(cuMemSetAccess(first, piece, &all, 1));
    OK(cuMemExportToShareableHandle(&file, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    OK(cuMemImportFromShareableHandle(&taken, (void *)(intptr_t)file, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    CHECK(!close(file));
    OK(cuMemMap(second, piece, 0, taken, 0));
    OK(cuMemSetAccess(second, piece, &all, 1));
    fill(first, piece / 4, 11, NULL);
    advance(second, piece / 4, 2, NULL);
    printf("given out: %016llx\n", (unsigned long long)digest(first, piece / 4));
    OK(cuMemRelease(handle));
    OK(cuMemUnmap(first, piece));
    printf("taken in: %016llx\n", (unsigned long long)digest(second, piece / 4));
    OK(cuMemUnmap(second, piece));
    OK(cuMemRelease(taken));
    OK(cuMemAddressFree(first, piece));
    OK(cuMemAddressFree(second, piece));
}

static void partly(void)
{
    /* Only the first half of an allocation; not every driver takes that. */
    CUmemGenericAllocationHandle handle;
    CUdeviceptr range;
    OK(cuMemCreate(&handle, 2 * piece, &ours, 0));
    OK(cuMemAddressReserve(&range, 3 * piece, 0, 0, 0));
    CUresult taken = cuMemMap(range, piece, 0, handle, 0);
    if (taken == CUDA_SUCCESS) {
        OK(cuMemSetAccess(range, piece, &all, 1));
        fill(range, piece / 4, 21, NULL);
        printf("half: %016llx\n", (unsigned long long)digest(range, piece / 4));
        OK(cuMemMap(range + piece, 2 * piece, 0, handle, 0));
        OK(cuMemSetAccess(range + piece, 2 * piece, &all, 1));
        fill(range + 2 * piece, piece / 4, 22, NULL);
        OK(cuMemUnmap(range, piece));
        printf("whole: %016llx\n", (unsigned long long)digest(range + piece, 2 * piece / 4));
        OK(cuMemUnmap(range + piece, 2 * piece));
    } else {
        printf("half: refused (%d)\n", taken);
    }
    OK(cuMemRelease(handle));
    OK(cuMemAddressFree(range, 3 * piece));
}

int main(int argc, char **argv)
{
    open_device();
    ours = (CUmemAllocationProp){.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                 .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device}};
    all = (CUmemAccessDesc){.location = ours.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    reading = (CUmemAccessDesc){.location = ours.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READ};
    size_t granularity;
    OK(cuMemGetAllocationGranularity(&granularity, &ours, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    piece = (size_t)argument(argc, argv, 1, 2) << 20;
    CHECK(piece % granularity == 0);
    for (int round = 0; round < 2; round++) {
        grow();
        shared_maps();
        given_out();
        partly();
    }
    close_device();
    return 0;
}
