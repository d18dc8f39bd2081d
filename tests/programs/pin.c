// Shows that a driver can pin pages that are shared by gntalloc: a disk writes into them by O_DIRECT, which pins them for
// the transfer as a GPU's driver does for good, and what arrives is what a buffered read finds.
//
//     pin DEVICE PAGES
//
// Shares PAGES pages with domain 0, reads as much from the start of DEVICE straight into them, and compares.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xen/gntalloc.h>

#define PAGE 4096

static void fail(const char *what)
{
    printf("PIN FAILED: %s: %s\n", what, strerror(errno));
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: pin DEVICE PAGES\n");
        return 2;
    }
    size_t pages = strtoul(argv[2], NULL, 10), bytes = pages * PAGE;
    struct ioctl_gntalloc_alloc_gref *grant = calloc(1, sizeof *grant + pages * sizeof grant->gref_ids[0]);
    grant->domid = 0;
    grant->flags = GNTALLOC_FLAG_WRITABLE;
    grant->count = pages;
    int device = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC);
    if (device < 0)
        fail("/dev/xen/gntalloc");
    if (ioctl(device, IOCTL_GNTALLOC_ALLOC_GREF, grant))
        fail("sharing pages");
    unsigned char *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, device, grant->index);
    if (shared == MAP_FAILED)
        fail("mapping them");
    // A page whose bytes did not arrive must not look as if they had.
    memset(shared, 0xa5, bytes);

    int direct = open(argv[1], O_RDONLY | O_DIRECT), plain = open(argv[1], O_RDONLY);
    if (direct < 0 || plain < 0)
        fail(argv[1]);
    ssize_t got = pread(direct, shared, bytes, 0);
    if (got < 0)
        fail("O_DIRECT read into them");
    if ((size_t)got != bytes) {
        printf("PIN FAILED: %zd bytes of %zu\n", got, bytes);
        return 1;
    }
    unsigned char *expected = malloc(bytes);
    size_t different = 0, varied = 0;
    if (pread(plain, expected, bytes, 0) != got)
        fail("buffered read");
    for (size_t i = 0; i < bytes; i++) {
        different += shared[i] != expected[i];
        varied += expected[i] != 0xa5 && expected[i] != 0;
    }
    if (different || !varied) {
        printf("PIN FAILED: %zu bytes differ, %zu say anything\n", different, varied);
        return 1;
    }
    printf("PIN OK %zu bytes of %s by O_DIRECT into pages shared with domain 0\n", bytes, argv[1]);
    return 0;
}
