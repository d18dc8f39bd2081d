/* To be preloaded: stands in for dlsym(3), as tracers and overlays do, and passes all on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>

atomic_int dlsym_hook_calls;

void *dlsym(void *handle, const char *name) {
    static void *(*real)(void *, const char *);
    if (!real) real = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    dlsym_hook_calls++;
    return real(handle, name);
}
