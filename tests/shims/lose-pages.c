/*
 * lose-pages: preloaded into a saving libxl-save-helper in front of xl-gpu's plugin, it has libxc forget one in twenty of the pages
 * that are left to send in the first round, once the plugin has decided which those are. A test that does not notice this notices nothing.
 *
 * libxc names the round twice before it sends it: before its first policy callback and after it (send_memory_live in xg_sr_save.c).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static unsigned char *bitmap;
static size_t bytes;

void *xc__hypercall_buffer_alloc_pages(void *xch, void *buffer, int pages)
{
    void *(*real)(void *, void *, int) = dlsym(RTLD_NEXT, "xc__hypercall_buffer_alloc_pages");

    bitmap = real(xch, buffer, pages);
    bytes = (size_t)pages * 4096;
    return bitmap;
}

void xc_set_progress_prefix(void *xch, const char *doing)
{
    void (*real)(void *, const char *) = dlsym(RTLD_NEXT, "xc_set_progress_prefix");
    static int named;

    if (bitmap && doing && !strcmp(doing, "Frames iteration 0") && ++named == 2) {
        unsigned long left = 0, lost = 0;
        for (size_t bit = 0; bit < bytes * 8; bit++)
            if (bitmap[bit / 8] >> bit % 8 & 1 && ++left % 20 == 0) {
                bitmap[bit / 8] &= (unsigned char)~(1u << bit % 8);
                lost++;
            }
        fprintf(stderr, "lose-pages: %lu of %lu pages are not sent\n", lost, left);
    }
    real(xch, doing);
}
