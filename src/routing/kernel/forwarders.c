/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/kernel/forwarders.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COMMAND_LINE_MAX = 1024 };

/* As the kernel tells them: cut after 15 characters. */
static const char *const names[] = { "docker-proxy", "rootlessport", "slirp4netns",
                                     "pasta",        "pasta.avx2",   "rootlesskit" };

void forwarders_close(struct forwarders *forwarders)
{
    free(forwarders->items);
    *forwarders = (struct forwarders){ 0 };
}

static void add(struct forwarders *forwarders, const struct forwarder *item)
{
    struct forwarder *items =
        reallocarray(forwarders->items, forwarders->n_items + 1, sizeof *items);

    if (!items)
        return; /* one hint less */
    items[forwarders->n_items++] = *item;
    forwarders->items = items;
}

/* The first bytes of /proc/PID/FILE; returns how many. */
static size_t read_file(const char *pid, const char *file, char *out, size_t size)
{
    char path[64];
    FILE *stream;
    size_t n;

    snprintf(path, sizeof path, "/proc/%.20s/%s", pid, file);
    stream = fopen(path, "re");
    if (!stream)
        return 0;
    n = fread(out, 1, size, stream);
    fclose(stream);
    return n;
}

static const char *name_of(const char *pid)
{
    char name[32] = "";

    (void)read_file(pid, "comm", name, sizeof name - 1);
    name[strcspn(name, "\n")] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) == 0)
            return names[i];
    }
    return NULL;
}

/* The word behind an option; NULL: it is not there. words end with a NUL each. */
static const char *find_option(const char *words, size_t len, const char *option)
{
    for (const char *at = words; at < words + len; at += strlen(at) + 1) {
        const char *next = at + strlen(at) + 1;

        if (strcmp(at, option) == 0 && next < words + len)
            return next;
    }
    return NULL;
}

/* docker-proxy has it among its arguments. */
static struct addr container_of(const char *pid)
{
    char words[COMMAND_LINE_MAX + 1] = "";
    size_t len = read_file(pid, "cmdline", words, COMMAND_LINE_MAX);
    const char *host = find_option(words, len, "-container-ip");
    const char *port = find_option(words, len, "-container-port");
    struct addr container = { 0 };
    unsigned long number = port ? strtoul(port, NULL, 10) : 0;

    if (!host || number == 0 || number > UINT16_MAX || addr_parse_host(&container, host))
        return (struct addr){ 0 };
    addr_set_port(&container, (uint16_t)number);
    return container;
}

static bool is_child_of(const char *pid, const char *parent)
{
    char stat[512] = "";
    long number = 0;

    (void)read_file(pid, "stat", stat, sizeof stat - 1);
    const char *name_end = strrchr(stat, ')');
    return name_end && sscanf(name_end, ") %*c %ld", &number) == 1 && number == atol(parent);
}

/* Is it a process of that namespace, but none that the forwarder has put there? */
static bool is_inhabitant(const char *pid, const char *forwarder, const struct stat *namespace)
{
    char path[64];
    struct stat info;

    snprintf(path, sizeof path, "/proc/%.20s/ns/net", pid);
    return stat(path, &info) == 0 && info.st_dev == namespace->st_dev &&
           info.st_ino == namespace->st_ino && !name_of(pid) && !is_child_of(pid, forwarder);
}

/* The path by the process that has the lowest number there: the container's first one, mostly. */
static void find_inhabitant(const char *forwarder, const struct stat *namespace,
                            char out[FORWARDER_NETNS_LEN])
{
    const struct dirent *entry;
    DIR *folder = opendir("/proc");
    long lowest = 0;

    while (folder && (entry = readdir(folder))) {
        long pid = isdigit((unsigned char)entry->d_name[0]) ? atol(entry->d_name) : 0;

        if (pid > 0 && (lowest == 0 || pid < lowest) &&
            is_inhabitant(entry->d_name, forwarder, namespace))
            lowest = pid;
    }
    if (folder)
        closedir(folder);
    if (lowest > 0)
        snprintf(out, FORWARDER_NETNS_LEN, "/proc/%ld/ns/net", lowest);
}

/* rootlessport and pasta keep the container's network namespace open. */
static bool is_other_namespace(int folder, const char *fd, struct stat *info)
{
    struct stat own;

    return stat("/proc/self/ns/net", &own) == 0 && fstatat(folder, fd, info, 0) == 0 &&
           info->st_dev == own.st_dev && info->st_ino != own.st_ino;
}

static void find_netns(struct forwarder *item, const char *pid)
{
    char path[64];
    const struct dirent *entry;
    struct stat info;
    DIR *folder;

    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    folder = opendir(path);
    while (folder && item->netns[0] == '\0' && (entry = readdir(folder)))
        if (isdigit((unsigned char)entry->d_name[0]) &&
            is_other_namespace(dirfd(folder), entry->d_name, &info))
            find_inhabitant(pid, &info, item->netns);
    if (folder)
        closedir(folder);
}

static void add_sockets(struct forwarders *forwarders, const char *pid, const char *name)
{
    struct forwarder item = { .name = name, .container = container_of(pid) };
    char path[64];
    const struct dirent *entry;
    DIR *folder;

    if (!addr_is_set(&item.container))
        find_netns(&item, pid);
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    folder = opendir(path);
    while (folder && (entry = readdir(folder))) {
        char link[64] = "";

        if (readlinkat(dirfd(folder), entry->d_name, link, sizeof link - 1) > 0 &&
            sscanf(link, "socket:[%lu]", &item.inode) == 1)
            add(forwarders, &item);
    }
    if (folder)
        closedir(folder);
}

void forwarders_open(struct forwarders *forwarders)
{
    const struct dirent *entry;
    DIR *folder = opendir("/proc");

    *forwarders = (struct forwarders){ 0 };
    while (folder && (entry = readdir(folder))) {
        const char *name = isdigit((unsigned char)entry->d_name[0]) ? name_of(entry->d_name) : NULL;

        if (name)
            add_sockets(forwarders, entry->d_name, name);
    }
    if (folder)
        closedir(folder);
}

static const struct forwarder *with_inode(const struct forwarders *forwarders, unsigned long inode)
{
    for (size_t i = 0; i < forwarders->n_items; i++) {
        if (forwarders->items[i].inode == inode)
            return &forwarders->items[i];
    }
    return NULL;
}

const struct forwarder *forwarders_find(const struct forwarders *forwarders,
                                        const struct listening *listening, size_t n_listening,
                                        const struct addr *target)
{
    for (size_t i = 0; i < n_listening; i++) {
        const struct forwarder *forwarder = listening_takes(&listening[i], target)
                                                ? with_inode(forwarders, listening[i].inode)
                                                : NULL;

        if (forwarder)
            return forwarder;
    }
    return NULL;
}
