/* Plug-ins opened with RTLD_DEEPBIND, and by namespace-wide and local flags, that all come to the same OpenCL. */
#include "user.h"

#include <dlfcn.h>

int main(int count, char **arguments) {
    CHECK(count == 2);
    static const int flags[] = {RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND, RTLD_LAZY | RTLD_GLOBAL | RTLD_DEEPBIND, RTLD_NOW | RTLD_LOCAL};
    for (int i = 0; i < 3; i++) {
        void *plugin = dlopen(arguments[1], flags[i]);
        if (!plugin) FAIL("%s", dlerror());
        cl_uint (*compute)(cl_uint) = (cl_uint(*)(cl_uint))dlsym(plugin, "compute");
        CHECK(compute);
        printf("%u\n", compute(i));
        dlclose(plugin);
    }
    return 0;
}
