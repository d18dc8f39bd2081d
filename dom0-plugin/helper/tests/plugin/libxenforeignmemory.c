/* Stands in for libxenforeignmemory: a mapping is a copy, after which the guest runs on a little. */
#include "guest.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void *xenforeignmemory_open(void *logger, unsigned flags)
{
    (void)logger;
    return flags ? NULL : malloc(1);
}

int xenforeignmemory_close(void *handle)
{
    free(handle);
    return 0;
}

void *xenforeignmemory_map(void *handle, uint32_t domid, int prot, size_t pages, const unsigned long *frames, int *err)
{
    char *copy = malloc(pages * PAGE);

    (void)handle; (void)prot;
    if (domid != 5 || getenv("FAKE_UNMAPPABLE")) {
        errno = EPERM;
        free(copy);
        return NULL;
    }
    for (size_t i = 0; i < pages; i++) {
        unsigned long pfn = guest_hvm ? frames[i] : frames[i] - FRAMES;
        err[i] = pfn < guest_pages ? 0 : -EINVAL;
        if (!err[i])
            memcpy(copy + i * PAGE, guest_page(pfn), PAGE);
    }
    guest_runs();
    return copy;
}

int xenforeignmemory_unmap(void *handle, void *address, size_t pages)
{
    (void)handle; (void)pages;
    free(address);
    return 0;
}
