/* opens LIBRARY...: which file dlopen() takes for each name, links followed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct link_map *map;
        char file[PATH_MAX];
        void *library = dlopen(argv[i], RTLD_NOW);
        if (!library || dlinfo(library, RTLD_DI_LINKMAP, &map)) {
            printf("%s: %s\n", argv[i], dlerror());
            continue;
        }
        printf("%s: %s\n", argv[i], realpath(map->l_name, file) ? file : map->l_name);
    }
    return 0;
}
