/* Stands in for libxl-save-helper. The stream is stdout (save) or stdin (restore); what happens is told on stderr. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct save_callbacks {
    int (*suspend)(void *);
    void *precopy_policy;
    int (*postcopy)(void *);
    int (*checkpoint)(void *);
    int (*wait_checkpoint)(void *);
    int (*switch_qemu_logdirty)(uint32_t, unsigned, void *);
    void *data;
};

struct logger {
    void (*vmessage)(struct logger *, int level, int errnoval, const char *context, const char *format, va_list);
};

void *xc_interface_open(struct logger *, struct logger *, unsigned);
int xc_domain_save(void *, int, uint32_t, uint32_t, struct save_callbacks *, int, int);
int xc_domain_restore(void *, int, uint32_t, unsigned, unsigned long *, uint32_t, unsigned, unsigned long *, uint32_t,
                      int, void *, int, unsigned);

static void vmessage(struct logger *l, int level, int errnoval, const char *context, const char *format, va_list al)
{
    char text[4000];
    (void)l; (void)errnoval;
    vsnprintf(text, sizeof text, format, al);
    fprintf(stderr, "log %d %s: %s\n", level, context, text);
}

static struct logger logger = { vmessage };
static int suspended;

static int suspend(void *data)
{
    if (data != &suspended)
        abort();
    fprintf(stderr, "suspend\n");
    return getenv("SUSPEND_FAILS") == NULL;
}

static int logdirty(uint32_t domid, unsigned enable, void *data)
{
    if (data != &suspended)
        abort();
    fprintf(stderr, "qemu logdirty of domain %u: %u\n", domid, enable);
    return 0;
}

static int unwriteable;
static void cancel(int signal)
{
    (void)signal;
    dup2(unwriteable, 1);
}

int main(int argc, char **argv)
{
    int domid = atoi(argv[2]), flags = atoi(argv[3]), type = atoi(argv[4]), rc;
    void *xch = xc_interface_open(&logger, &logger, 0);

    (void)argc;
    if (!strcmp(argv[1], "save")) {
        struct save_callbacks cb = { .suspend = suspend, .switch_qemu_logdirty = logdirty, .data = &suspended };
        unwriteable = open("/dev/null", O_RDONLY);
        signal(SIGTERM, cancel);
        errno = 0;
        rc = xc_domain_save(xch, 1, domid, flags, &cb, type, 77);
    } else {
        unsigned long store = 0, console = 0;
        char rest[100];
        errno = 0;
        rc = xc_domain_restore(xch, 0, domid, 11, &store, 12, 13, &console, 14, type, NULL, 15, 0x1234);
        int error = errno;
        if (!rc && (store != 21 || console != 22))
            abort();
        ssize_t n = rc ? 0 : read(0, rest, sizeof rest);
        if (n > 0)
            fprintf(stderr, "after END: %zd bytes\n", n);
        errno = error;
    }
    fprintf(stderr, "complete rc %d (%s)\n", rc, rc ? strerror(errno) : "");
    return 0;
}
