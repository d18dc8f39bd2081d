/* Stands in for libxenguest: drives the callbacks and the stream as xg_sr_save.c and xg_sr_restore.c do, with made-up
 * pages. XEN_MINOR selects the prototypes. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

int read_exact(int fd, void *data, size_t size);
int write_exact(int fd, const void *data, size_t size);
int writev_exact(int fd, struct iovec *parts, int count);

struct precopy_stats {
    unsigned iteration;
#if XEN_MINOR <= 14
    unsigned total_written;
#else
    unsigned long total_written;
#endif
    long dirty_count;
};

struct save_callbacks {
    int (*suspend)(void *);
    int (*precopy_policy)(struct precopy_stats, void *);
    int (*postcopy)(void *);
    int (*checkpoint)(void *);
    int (*wait_checkpoint)(void *);
    int (*switch_qemu_logdirty)(uint32_t, unsigned, void *);
    void *data;
};

struct ihdr { uint64_t marker; uint32_t id, version; uint16_t options, r1; uint32_t r2; };
struct dhdr { uint32_t type; uint16_t shift, r1; uint32_t major, minor; };
struct rhdr { uint32_t type, length; };

enum { END = 0, PAGE_DATA = 1, STATIC_DATA_END = 0x10, OPTIONAL = 0x80000000 };

#if XEN_MINOR <= 15
int xc_shadow_control(void *, uint32_t, unsigned, void *, unsigned long, unsigned long *, uint32_t, void *);
#define SHADOW(xch, domid, op) xc_shadow_control(xch, domid, op, NULL, 0, NULL, 0, (void *)0x5157)
#else
int xc_shadow_control(void *, uint32_t, unsigned, unsigned *, unsigned);
#define SHADOW(xch, domid, op) xc_shadow_control(xch, domid, op, NULL, 0x5157)
#endif

static int record(int fd, uint32_t type, const void *body, uint32_t length)
{
    struct rhdr header = { type, length };
    char padding[8] = { 0 };
#ifdef VARIANT_JOINED_WRITES
    struct iovec parts[] = { { &header, sizeof header }, { (void *)body, length }, { padding, -length & 7 } };
    return writev_exact(fd, parts, 3);
#endif
    return write_exact(fd, &header, sizeof header) || write_exact(fd, body, length) ||
           write_exact(fd, padding, -length & 7);
}

static int pages(int fd, long count)
{
    char body[13] = { 0 };
    snprintf(body, sizeof body, "pages %5ld", count);
    return record(fd, PAGE_DATA, body, sizeof body);
}

#include "memory.c"

static int default_policy(struct precopy_stats s, void *data)
{
    (void)data;
    return (s.dirty_count >= 0 && s.dirty_count < 50) || s.iteration >= 5;
}

static int live(int fd, struct save_callbacks *cb)
{
    int (*policy)(struct precopy_stats, void *) = cb->precopy_policy ? cb->precopy_policy : default_policy;
    struct precopy_stats stats = { 0, 0, 1000 };
    unsigned calls = 0;
    int decision;

    for (;;) {
        decision = policy(stats, cb->data);
        calls++;
        if (decision != -1 && pages(fd, stats.dirty_count))
            return -1;
        if (decision)
            break;
        stats.iteration = calls;
        stats.total_written += stats.dirty_count;
        stats.dirty_count = -1;
        decision = policy(stats, cb->data);
        if (decision)
            break;
        stats.dirty_count = 1000 >> calls;
    }
    fprintf(stderr, "precopy: %u rounds, decision %d, %lu pages\n", calls, decision,
            (unsigned long)stats.total_written);
    return decision == -1 ? -1 : 0;
}

static int save(void *xch, int fd, uint32_t dom, int is_live, struct save_callbacks *cb)
{
    struct ihdr ihdr = { ~0ull, htonl(0x58454e46), htonl(3), 0, 0, 0 };
    struct dhdr dhdr = { 1, 12, 0, 4, XEN_MINOR };

#ifdef VARIANT_JOINED_WRITES
    struct { struct ihdr ihdr; struct dhdr dhdr; } both = { ihdr, dhdr };
    if (write_exact(fd, &both, sizeof both) ||
#else
    if (write_exact(fd, &ihdr, sizeof ihdr) || write_exact(fd, &dhdr, sizeof dhdr) ||
#endif
        record(fd, STATIC_DATA_END, NULL, 0))
        return -1;
    if (is_live) {
        if (cb->switch_qemu_logdirty && cb->switch_qemu_logdirty(dom, 1, cb->data))
            return -1;
        if (SHADOW(xch, dom, 2) && (SHADOW(xch, dom, 0) || SHADOW(xch, dom, 2))) {
            fprintf(stderr, "Failed to enable logdirty: %d\n", errno);
            return -1;
        }
        if (guest_pages ? memory_live(fd, cb) : live(fd, cb))
            return -1;
    }
    if (cb->suspend(cb->data) == 0) {
        fprintf(stderr, "save callback suspend() failed\n");
        return -1;
    }
    return (guest_pages ? memory_rest(fd) : pages(fd, 7)) || record(fd, END, NULL, 0) ? -1 : 0;
}

int xc_domain_save(void *xch, int fd, uint32_t dom, uint32_t flags, struct save_callbacks *cb, int type, int recv_fd)
{
    fprintf(stderr, "errno at entry: %d\n", errno);
    memory_setup(xch);
    int rc = save(xch, fd, dom, flags & 1, cb), error = errno;
    memory_cleanup(xch);

    if (type > 2 || recv_fd != 77)
        abort();
    SHADOW(xch, dom, 0);
    errno = error;
    return rc;
}

static int restore(int fd)
{
    struct ihdr ihdr;
    struct dhdr dhdr;
    struct rhdr header;

    if (read_exact(fd, &ihdr, sizeof ihdr) || read_exact(fd, &dhdr, sizeof dhdr))
        return -1;
    if (ihdr.marker != ~0ull || ntohl(ihdr.id) != 0x58454e46)
        return -1;
    do {
        char *body = NULL;
#ifdef VARIANT_ODD_READS /* a library that reads differently */
        if (read_exact(fd, &header.type, 4) || read_exact(fd, &header.length, 4))
            return -1;
#else
        if (read_exact(fd, &header, sizeof header)) {
            fprintf(stderr, "Failed to read Record Header from stream: %s\n", strerror(errno));
            return -1;
        }
#endif
        size_t padded = (header.length + 7ul) & ~7ul;
        if (padded && (!(body = malloc(padded)) || read_exact(fd, body, padded)))
            return -1;
        if (header.type == PAGE_DATA)
            fprintf(stderr, "record: %s\n", body);
        else if (header.type == END || header.type == STATIC_DATA_END)
            fprintf(stderr, "record: %#x\n", header.type);
        else if (header.type & OPTIONAL)
            fprintf(stderr, "Ignoring optional record %#x\n", header.type);
        else {
            fprintf(stderr, "Mandatory record %#x not handled\n", header.type);
            return -1;
        }
        free(body);
    } while (header.type != END);
    return 0;
}

int xc_domain_restore(void *xch, int fd, uint32_t dom, unsigned store_evtchn, unsigned long *store_mfn,
                      uint32_t store_domid, unsigned console_evtchn, unsigned long *console_mfn,
                      uint32_t console_domid, int type, void *callbacks, int send_back_fd
#if XEN_MINOR >= 22
                      , unsigned memflags
#endif
                      )
{
    (void)xch; (void)dom; (void)type;
    if (store_evtchn != 11 || store_domid != 12 || console_evtchn != 13 || console_domid != 14 || callbacks ||
        send_back_fd != 15)
        abort();
#if XEN_MINOR >= 22
    if (memflags != 0x1234)
        abort();
#endif
    fprintf(stderr, "errno at entry: %d\n", errno);
    *store_mfn = 21;
    *console_mfn = 22;
    return restore(fd);
}
