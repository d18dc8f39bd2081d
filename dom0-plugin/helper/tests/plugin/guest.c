/* See guest.h. Part of the stand-in for libxenctrl, with the functions of it that know memory. */
#include "guest.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

unsigned long guest_pages;
int guest_hvm, guest_logdirty;
uint8_t *guest_dirty;
static uint8_t *memory, *written;

__attribute__((constructor)) static void guest_build(void)
{
    const char *pages = getenv("FAKE_PAGES");

    guest_hvm = getenv("FAKE_HVM") != NULL;
    if (!pages)
        return;
    guest_pages = strtoul(pages, NULL, 10);
    memory = malloc(guest_pages * PAGE);
    guest_dirty = calloc(guest_pages, 1);
    written = calloc(guest_pages, 1);
    for (unsigned long p = 0; p < guest_pages; p++)
        memset(memory + p * PAGE, (int)(p * 31 + 1), PAGE);
}

/* A page table becomes plain memory and a hole is filled when they are first written. */
unsigned guest_type(unsigned long pfn)
{
    if (written[pfn])
        return PLAIN;
    return pfn % 50 == 7 && !guest_hvm ? TABLE : (pfn % 90 == 11 && pfn < WHOLE) || (pfn >= 1200 && pfn < 2400) ? HOLE : PLAIN;
}

uint8_t *guest_page(unsigned long pfn) { return memory + pfn * PAGE; }

void guest_runs(void)
{
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    static unsigned long turn;

    if (!guest_pages)
        return;
    pthread_mutex_lock(&one);
    for (int i = 0; i < 3; i++, turn++) {
        unsigned long pfn = turn * 37 % guest_pages;
        memory[pfn * PAGE + turn * 61 % PAGE]++;
        written[pfn] = 1;
        if (guest_logdirty)
            guest_dirty[pfn] = 1;
    }
    pthread_mutex_unlock(&one);
}

void *xc__hypercall_buffer_alloc_pages(void *xch, void **buffer, int pages)
{
    (void)xch;
    return *buffer = calloc(pages, PAGE);
}

void xc__hypercall_buffer_free_pages(void *xch, void **buffer, int pages)
{
    (void)xch; (void)pages;
    free(*buffer);
}

int xc_domain_nr_gpfns(void *xch, uint32_t domid, unsigned long *pages)
{
    (void)xch; (void)domid;
    *pages = guest_pages;
    return 0;
}

int xc_domain_hvm_getcontext(void *xch, uint32_t domid, uint8_t *buffer, uint32_t size)
{
    (void)xch; (void)domid;
    if (buffer || size)
        abort();
    errno = EINVAL;
    return guest_hvm ? 4000 : -1;
}

int xc_get_pfn_type_batch(void *xch, uint32_t domid, unsigned count, unsigned long *frames)
{
    (void)xch; (void)domid;
    if (count > 1024) {
        errno = E2BIG;
        return -1;
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned long pfn = guest_hvm ? frames[i] : frames[i] - FRAMES;
        frames[i] = pfn < guest_pages ? guest_type(pfn) : HOLE;
    }
    return 0;
}
