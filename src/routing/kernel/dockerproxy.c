/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/kernel/dockerproxy.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TCP_LISTEN_STATE = 0x0A };

void dockerproxy_close(struct dockerproxy *dockerproxy)
{
    free(dockerproxy->inodes);
    *dockerproxy = (struct dockerproxy){ 0 };
}

static void add(struct dockerproxy *dockerproxy, unsigned long inode)
{
    unsigned long *inodes =
        reallocarray(dockerproxy->inodes, dockerproxy->n_inodes + 1, sizeof(*inodes));

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

    snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
    file = fopen(path, "re");
    if (!file)
        return false;
    if (!fgets(name, sizeof(name), file))
        name[0] = '\0';
    fclose(file);
    return strcmp(name, "docker-proxy\n") == 0;
}

static void add_sockets(struct dockerproxy *dockerproxy, const char *pid)
{
    char path[64];
    const struct dirent *entry;
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
    folder = opendir(path);
    while (folder && (entry = readdir(folder))) {
        char link[64] = "";
        unsigned long inode;

        if (readlinkat(dirfd(folder), entry->d_name, link, sizeof(link) - 1) > 0 &&
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

/* The table has addresses as 32-bit words of the machine's byte order, in hexadecimal. */
static bool read_address(const char *hex, struct addr *out)
{
    uint8_t bytes[16];
    size_t n = strspn(hex, "0123456789ABCDEF") / 8;

    if (n != 1 && n != 4)
        return false;
    for (size_t i = 0; i < n; i++) {
        char word[9];
        uint32_t value;

        memcpy(word, hex + 8 * i, 8);
        word[8] = '\0';
        value = (uint32_t)strtoul(word, NULL, 16);
        memcpy(bytes + 4 * i, &value, 4);
    }
    addr_from_bytes(out, n == 1 ? AF_INET : AF_INET6, bytes, 0);
    return true;
}

static bool is_wildcard(const struct addr *addr)
{
    static const uint8_t zero[16];

    return memcmp(addr_bytes(addr), zero, addr_family(addr) == AF_INET6 ? 16 : 4) == 0;
}

/* One line of /proc/net/tcp or tcp6: "  0: 0100007F:0016 00000000:0000 0A ... inode ...". */
static bool line_matches(const struct dockerproxy *dockerproxy, const char *line,
                         const struct addr *target)
{
    char local[40];
    unsigned port;
    unsigned state;
    unsigned long inode;
    struct addr addr;

    if (sscanf(line, " %*d: %39[0-9A-F]:%x %*[0-9A-F]:%*x %x %*s %*s %*s %*u %*u %lu", local, &port,
               &state, &inode) != 4 ||
        state != TCP_LISTEN_STATE || port != addr_port(target) || !read_address(local, &addr))
        return false;
    /* An IPv6 wildcard takes IPv4 too, most of the time. */
    return (is_wildcard(&addr) || addr_equal_host(&addr, target)) && has_inode(dockerproxy, inode);
}

bool dockerproxy_holds(const struct dockerproxy *dockerproxy, const struct addr *target)
{
    static const char *const tables[] = { "/proc/net/tcp", "/proc/net/tcp6" };
    char line[512];
    bool found = false;

    if (dockerproxy->n_inodes == 0)
        return false;
    for (size_t i = 0; i < 2 && !found; i++) {
        FILE *file = fopen(tables[i], "re");

        while (file && !found && fgets(line, sizeof(line), file))
            found = line_matches(dockerproxy, line, target);
        if (file)
            fclose(file);
    }
    return found;
}
