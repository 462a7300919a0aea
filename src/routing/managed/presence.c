/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/managed/presence.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PRESENCE "mmproxy-return-path/"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

enum { PREFIX_LEN = 96 };

/* Inode numbers are used again after a network namespace is gone, cookies are not. */
void presence_namespace(char out[PRESENCE_NAME_LEN])
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    unsigned long long cookie = 0;
    socklen_t len = sizeof(cookie);
    struct stat info;

    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0) {
        cookie = stat("/proc/self/ns/net", &info) == 0 ? info.st_ino : 0;
        snprintf(out, PRESENCE_NAME_LEN, "netns-inode-%llu", cookie);
    } else {
        snprintf(out, PRESENCE_NAME_LEN, "netns-%llu", cookie);
    }
    if (fd >= 0)
        close(fd);
}

/* What the names of all instances with this folder begin with. */
static void format_prefix(int folder, char out[PREFIX_LEN])
{
    struct stat info;

    if (folder >= 0 && fstat(folder, &info) == 0)
        snprintf(out, PREFIX_LEN, PRESENCE "%llx.%llx/", (unsigned long long)info.st_dev,
                 (unsigned long long)info.st_ino);
    else
        snprintf(out, PREFIX_LEN, PRESENCE "alone.%d/", (int)getpid());
}

int presence_open(int folder)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char prefix[PREFIX_LEN];
    size_t len;

    if (fd < 0)
        return -1;
    format_prefix(folder, prefix);
    len = offsetof(struct sockaddr_un, sun_path) + 1;
    len += (size_t)snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "%.80s%d.%d", prefix,
                            (int)getpid(), fd);
    if (bind(fd, (const struct sockaddr *)&name, (socklen_t)len) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

bool presence_of_strangers(int folder)
{
    FILE *file = fopen("/proc/net/unix", "re");
    char known[PREFIX_LEN];
    char line[256];
    bool found = !file && errno != ENOENT; /* there may be: descriptors or memory are short */

    format_prefix(folder, known);
    while (file && !found && fgets(line, sizeof(line), file))
        found = strstr(line, "@" PRESENCE) && !strstr(line, known);
    if (file)
        fclose(file);
    return found;
}
