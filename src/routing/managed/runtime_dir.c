/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/managed/runtime_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_DIRECTORY "/run/mmproxy"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

enum { TRIES = 100 };

/* Another instance, as the last one, may remove it between the two calls: then once more. */
static int open_folder(int at, const char *path, bool create, mode_t mode)
{
    int tries = 0;
    int fd;

    do {
        if (create && mkdirat(at, path, mode) < 0 && errno != EEXIST)
            return -errno;
        fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    } while (fd < 0 && errno == ENOENT && create && ++tries < TRIES);
    return fd < 0 ? -errno : fd;
}

static int open_parent(bool create)
{
    const char *given = getenv("RUNTIME_DIRECTORY");
    char path[PATH_MAX];

    if (!given || given[0] != '/')
        given = DEFAULT_DIRECTORY;
    snprintf(path, sizeof path, "%.*s", (int)strcspn(given, ":"), given);
    return open_folder(AT_FDCWD, path, create, 0755);
}

/*
 * The inode's number says whether the namespace is still there. It is used again when the
 * namespace is gone; the cookie, 0 before Linux 5.14, is not.
 */
void runtime_dir_name(char out[RUNTIME_DIR_NAME_LEN])
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    unsigned long long cookie = 0;
    socklen_t len = sizeof cookie;
    struct stat info = { .st_ino = 0 };

    if (fd >= 0)
        (void)getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len);
    (void)stat("/proc/self/ns/net", &info);
    snprintf(out, RUNTIME_DIR_NAME_LEN, "netns-%llu-%llu", cookie, (unsigned long long)info.st_ino);
    if (fd >= 0)
        close(fd);
}

int runtime_dir_open(bool create)
{
    char name[RUNTIME_DIR_NAME_LEN];

    /* First: without a descriptor it is another name. */
    runtime_dir_name(name);
    int parent = open_parent(create);
    if (parent < 0)
        return parent;
    int fd = open_folder(parent, name, create, 0700);
    close(parent);
    return fd;
}

void runtime_dir_remove(void)
{
    char name[RUNTIME_DIR_NAME_LEN];

    runtime_dir_name(name);
    int parent = open_parent(false);
    if (parent < 0)
        return;
    (void)unlinkat(parent, name, AT_REMOVEDIR);
    close(parent);
}

static void remove_folder(int parent, const char *name)
{
    const struct dirent *entry;
    int fd = open_folder(parent, name, false, 0);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);

    while (folder && (entry = readdir(folder)))
        (void)unlinkat(fd, entry->d_name, 0);
    if (folder)
        closedir(folder);
    else if (fd >= 0)
        close(fd);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

void runtime_dir_sweep(bool (*is_there)(unsigned long long inode))
{
    const struct dirent *entry;
    int parent = open_parent(false);
    DIR *dir = parent < 0 ? NULL : fdopendir(parent);

    while (dir && (entry = readdir(dir))) {
        unsigned long long cookie;
        unsigned long long inode;

        if (sscanf(entry->d_name, "netns-%llu-%llu", &cookie, &inode) == 2 && !is_there(inode))
            remove_folder(parent, entry->d_name);
    }
    if (dir)
        closedir(dir);
    else if (parent >= 0)
        close(parent);
}
