/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/kernel/dockerproxy.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void dockerproxy_close(struct dockerproxy *dockerproxy)
{
    free(dockerproxy->inodes);
    *dockerproxy = (struct dockerproxy){ 0 };
}

static void add(struct dockerproxy *dockerproxy, unsigned long inode)
{
    unsigned long *inodes =
        reallocarray(dockerproxy->inodes, dockerproxy->n_inodes + 1, sizeof *inodes);

    if (!inodes)
        return; /* one hint less */
    inodes[dockerproxy->n_inodes++] = inode;
    dockerproxy->inodes = inodes;
}

static bool is_docker_proxy(const char *pid)
{
    char path[64];
    char name[32] = "";
    FILE *file;

    snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
    file = fopen(path, "re");
    if (!file)
        return false;
    if (!fgets(name, sizeof name, file))
        name[0] = '\0';
    fclose(file);
    return strcmp(name, "docker-proxy\n") == 0;
}

static void add_sockets(struct dockerproxy *dockerproxy, const char *pid)
{
    char path[64];
    const struct dirent *entry;
    DIR *folder;

    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    folder = opendir(path);
    while (folder && (entry = readdir(folder))) {
        char link[64] = "";
        unsigned long inode;

        if (readlinkat(dirfd(folder), entry->d_name, link, sizeof link - 1) > 0 &&
            sscanf(link, "socket:[%lu]", &inode) == 1)
            add(dockerproxy, inode);
    }
    if (folder)
        closedir(folder);
}

void dockerproxy_open(struct dockerproxy *dockerproxy)
{
    const struct dirent *entry;
    DIR *folder = opendir("/proc");

    *dockerproxy = (struct dockerproxy){ 0 };
    while (folder && (entry = readdir(folder))) {
        if (isdigit((unsigned char)entry->d_name[0]) && is_docker_proxy(entry->d_name))
            add_sockets(dockerproxy, entry->d_name);
    }
    if (folder)
        closedir(folder);
}

static bool has_inode(const struct dockerproxy *dockerproxy, unsigned long inode)
{
    for (size_t i = 0; i < dockerproxy->n_inodes; i++) {
        if (dockerproxy->inodes[i] == inode)
            return true;
    }
    return false;
}

bool dockerproxy_holds(const struct dockerproxy *dockerproxy, const struct listening *listening,
                       size_t n_listening, const struct addr *target)
{
    for (size_t i = 0; i < n_listening; i++) {
        if (listening_takes(&listening[i], target) && has_inode(dockerproxy, listening[i].inode))
            return true;
    }
    return false;
}
