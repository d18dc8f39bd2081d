/* Stands in for libxenctrl: the functions that libxenguest and the helper call, without a hypervisor. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>
#include "guest.c"

struct logger {
    void (*vmessage)(struct logger *, int level, int errnoval, const char *context, const char *format, va_list);
};

int read_exact(int fd, void *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = read(fd, (char *)data + at, size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = 0;
            return -1;
        }
        at += n;
    }
    return 0;
}

int write_exact(int fd, const void *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = write(fd, (const char *)data + at, size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        at += n;
    }
    return 0;
}

/* Alters the vector, as Xen's in development does. */
int writev_exact(int fd, struct iovec *parts, int count)
{
    for (; count; parts++, count--) {
        if (write_exact(fd, parts->iov_base, parts->iov_len))
            return -1;
        parts->iov_len = 0;
    }
    return 0;
}

void *xc_interface_open(struct logger *logger, struct logger *dombuild, unsigned flags)
{
    (void)dombuild;
    (void)flags;
    return logger;
}

/* In libxentoollog in truth; the helper is linked to both. */
void xtl_log(struct logger *logger, int level, int errnoval, const char *context, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    logger->vmessage(logger, level, errnoval, context, format, arguments);
    va_end(arguments);
}

#if XEN_MINOR <= 15
int xc_shadow_control(void *xch, unsigned domid, unsigned op, void *bitmap, unsigned long pages, unsigned long *mb,
                      unsigned mode, void *stats)
{
    if (bitmap || pages || mb || mode || stats != (void *)0x5157)
        abort();
#else
int xc_shadow_control(void *xch, unsigned domid, unsigned op, unsigned *mb, unsigned mode)
{
    if (mb || mode != 0x5157)
        abort();
#endif
    (void)xch;
    fprintf(stderr, "shadow_control domain %u op %u\n", domid, op);
    guest_runs();
    guest_logdirty = op == 2;
    return 0;
}
