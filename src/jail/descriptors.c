/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/jail/descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Without /proc each number that there can be is tried. */
static void try_each(void (*see)(int fd, void *context), void *context)
{
    long n = sysconf(_SC_OPEN_MAX);

    for (int fd = 0; fd < n; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            see(fd, context);
}

void descriptors_each(void (*see)(int fd, void *context), void *context)
{
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *entry;

    if (!dir) {
        try_each(see, context);
        return;
    }
    while ((entry = readdir(dir))) {
        char *end;
        int fd = (int)strtol(entry->d_name, &end, 10);
        if (*end == '\0' && fd != dirfd(dir))
            see(fd, context);
    }
    closedir(dir);
}
