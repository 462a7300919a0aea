/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/kernel/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int open_sysctl(const char *name, int flags)
{
    char path[PATH_MAX];
    int base = snprintf(path, sizeof path, "/proc/sys/");
    int fd;

    snprintf(path + base, sizeof path - (size_t)base, "%s", name);
    for (char *c = path + base; *c != '\0'; c++) {
        if (*c == '.' || *c == '/')
            *c = *c == '.' ? '/' : '.';
    }
    fd = open(path, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int sysctl_get(const char *name, int *out)
{
    char text[32] = "";
    int fd = open_sysctl(name, O_RDONLY);
    ssize_t got;
    int error;
    char *end;
    long value;

    if (fd < 0)
        return fd;
    got = read(fd, text, sizeof text - 1);
    error = errno;
    close(fd);
    if (got < 0)
        return -error;
    value = strtol(text, &end, 10);
    if (end == text || value < INT_MIN || value > INT_MAX)
        return -EINVAL;
    *out = (int)value;
    return 0;
}

int sysctl_set(const char *name, int value)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%d\n", value);
    int fd = open_sysctl(name, O_WRONLY);
    ssize_t put;
    int error;

    if (fd < 0)
        return fd;
    put = write(fd, text, (size_t)len);
    error = errno;
    close(fd);
    return put < 0 ? -error : 0;
}
