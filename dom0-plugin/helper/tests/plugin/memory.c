/* Part of the stand-in for libxenguest: a guest's memory in the stream, as xg_sr_save.c sends it. */
#include "guest.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERIFY = 13 };

void *xc__hypercall_buffer_alloc_pages(void *, void **, int);
void xc__hypercall_buffer_free_pages(void *, void **, int);

struct meminfo {
    unsigned levels, width;
    unsigned long *types, *table, size;
#if XEN_MINOR >= 16
    unsigned frames;
#endif
};

static void *bitmap_buffer, *other_buffer;
static uint8_t *bitmap;

static int bitmap_pages(void) { return ((guest_pages + 7) / 8 + PAGE - 1) / PAGE; }

static void memory_setup(void *xch)
{
    if (!guest_pages)
        return;
    bitmap = xc__hypercall_buffer_alloc_pages(xch, &bitmap_buffer, bitmap_pages());
    if (getenv("FAKE_TWO_BUFFERS"))
        xc__hypercall_buffer_alloc_pages(xch, &other_buffer, bitmap_pages());
}

static void memory_cleanup(void *xch)
{
    if (guest_pages)
        xc__hypercall_buffer_free_pages(xch, &bitmap_buffer, bitmap_pages());
}

static void memory_all(void)
{
    memset(bitmap, 0xff, (guest_pages + 7) / 8);
    if (getenv("FAKE_ODD_BITMAP"))
        bitmap[0] = 0xfe;
}

/* What the guest has written since log-dirty was switched on, or since the last time. */
static long memory_clean(void)
{
    long count = 0;

    guest_runs();
    memset(bitmap, 0, (guest_pages + 7) / 8);
    for (unsigned long p = 0; p < guest_pages; p++)
        if (guest_dirty[p]) {
            bitmap[p / 8] |= 1 << p % 8;
            guest_dirty[p] = 0;
            count++;
        }
    return count;
}

static int memory_record(int fd, const uint64_t *pfns, uint32_t count, const uint8_t *data, uint32_t pages)
{
    struct rhdr header = { PAGE_DATA, 8 + count * 8 + pages * PAGE };
    uint32_t counts[2] = { count, 0 };

    return write_exact(fd, &header, sizeof header) || write_exact(fd, counts, sizeof counts) ||
           write_exact(fd, pfns, count * 8) || write_exact(fd, data, pages * PAGE);
}

static int memory_send(int fd)
{
    static uint8_t data[100 * PAGE];
    static int lost;
    uint64_t pfns[100];
    uint32_t count = 0, pages = 0;

    for (unsigned long p = 0; p < guest_pages; p++) {
        if (!(bitmap[p / 8] & 1 << p % 8))
            continue;
        if (getenv("FAKE_LOSS") && guest_logdirty && guest_type(p) == PLAIN && !lost++)
            continue;
        pfns[count++] = p | (uint64_t)guest_type(p) << 32;
        if (guest_type(p) != HOLE)
            memcpy(data + pages++ * PAGE, guest_page(p), PAGE);
        if (guest_type(p) == TABLE)
            data[(pages - 1) * PAGE] = 0xee; /* in another form */
        if (count == 100) {
            if (memory_record(fd, pfns, count, data, pages))
                return -1;
            count = pages = 0;
        }
    }
    return count ? memory_record(fd, pfns, count, data, pages) : 0;
}

/* What the receiver should have in the end. */
static int memory_dump(void)
{
    FILE *dump = fopen(getenv("FAKE_DUMP"), "w");

    for (unsigned long p = 0; p < guest_pages; p++) {
        uint64_t type = guest_type(p);
        if (fwrite(&type, 8, 1, dump) != 1 || fwrite(guest_page(p), PAGE, 1, dump) != 1)
            return -1;
    }
    return fclose(dump);
}

static int memory_live(int fd, struct save_callbacks *cb)
{
    int (*policy)(struct precopy_stats, void *) = cb->precopy_policy;
    struct precopy_stats stats = { 0, 0, guest_pages };

    memory_all();
    for (;;) {
        int decision = policy(stats, cb->data);
        if (decision != -1 && memory_send(fd))
            return -1;
        if (decision)
            return decision == -1 ? -1 : 0;
        stats.iteration++;
        stats.dirty_count = -1;
        if (policy(stats, cb->data))
            return 0;
        stats.dirty_count = memory_clean();
    }
}

static int memory_rest(int fd)
{
    uint32_t verify[2] = { VERIFY, 0 };

    memory_clean();
    if (memory_send(fd))
        return -1;
    if (getenv("FAKE_VERIFY")) {
        memory_all();
        if (write_exact(fd, verify, sizeof verify) || memory_send(fd))
            return -1;
    }
    return memory_dump();
}

int xc_map_domain_meminfo(void *xch, uint32_t domid, struct meminfo *info)
{
    (void)xch; (void)domid;
    if (guest_hvm || info->types || info->table)
        abort();
    info->width = 8;
    info->size = guest_pages;
    info->types = malloc(guest_pages * 8);
    info->table = malloc(guest_pages * 8);
    for (unsigned long p = 0; p < guest_pages; p++) {
        info->types[p] = guest_type(p);
        info->table[p] = guest_type(p) == HOLE ? ~0ul : p + FRAMES;
    }
    return 0;
}

int xc_unmap_domain_meminfo(void *xch, struct meminfo *info)
{
    (void)xch;
    free(info->types);
    free(info->table);
    return 0;
}
