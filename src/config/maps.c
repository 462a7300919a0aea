/* SPDX-License-Identifier: BSD-2-Clause */
#include "maps.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mmproxy/base/subnets.h"

enum { REASON_MAX = 160 };

static bool share_bits(const struct addr *a, const struct addr *b, unsigned len)
{
    const uint8_t *left = addr_bytes(a);
    const uint8_t *right = addr_bytes(b);
    unsigned whole = len / 8;

    return memcmp(left, right, whole) == 0 &&
           (len % 8 == 0 || (left[whole] ^ right[whole]) >> (8 - len % 8) == 0);
}

static bool overlap(const struct prefix *a, const struct prefix *b)
{
    return addr_family(&a->addr) == addr_family(&b->addr) &&
           share_bits(&a->addr, &b->addr, a->len < b->len ? a->len : b->len);
}

static bool overlaps_text(const struct prefix *prefix, const char *text)
{
    struct prefix other;
    const char *reason;

    return prefix_parse(&other, text, &reason) == PREFIX_OK && overlap(prefix, &other);
}

struct space {
    const char *prefix;
    const char *name;
    bool is_private;
};

/* What a service would take for its own host, and what no connection comes from. */
static const struct space spaces[] = {
    { "127.0.0.0/8", "loopback", false },
    { "0.0.0.0/8", "the unspecified addresses", false },
    { "224.0.0.0/4", "multicast", false },
    { "255.255.255.255/32", "the broadcast address", false },
    { "10.0.0.0/8", "private space", true },
    { "172.16.0.0/12", "private space", true },
    { "192.168.0.0/16", "private space", true },
    { "100.64.0.0/10", "private space", true },
    { "169.254.0.0/16", "private space", true },
    { "::/96", "loopback", false },
    { "ff00::/8", "multicast", false },
    { "fe80::/10", "link-local addresses", false },
};

/* returns: the host's own address in the prefix, as text in buf; NULL: there is none. */
static const char *find_own(const struct prefix *prefix, char buf[ADDR_STRLEN])
{
    struct ifaddrs *all = NULL;
    const char *found = NULL;

    if (getifaddrs(&all) < 0)
        return NULL;
    for (const struct ifaddrs *each = all; each && !found; each = each->ifa_next) {
        struct prefix own = { .len = prefix->len };
        if (!each->ifa_addr || each->ifa_addr->sa_family != addr_family(&prefix->addr))
            continue;
        memcpy(&own.addr, each->ifa_addr,
               each->ifa_addr->sa_family == AF_INET ? sizeof own.addr.in : sizeof own.addr.in6);
        if (overlap(prefix, &own))
            found = addr_format_host(&own.addr, buf);
    }
    freeifaddrs(all);
    return found;
}

/* 240.0.0.0/4 ends with the broadcast address, which is never chosen. */
static bool is_allowed(const struct prefix *prefix, const struct space *space, bool is_lenient)
{
    return (space->is_private && is_lenient) ||
           (strcmp(space->prefix, "255.255.255.255/32") == 0 && prefix->len < 32);
}

static void check_prefix(const struct draft *draft, const char *key, const struct prefix *prefix,
                         struct mistakes *mistakes)
{
    unsigned line = draft_line_of(draft, key);
    bool is_lenient = draft->config.map_v6_anyway;
    char text[ADDR_STRLEN];
    char own[ADDR_STRLEN];

    if (!addr_is_set(&prefix->addr) || draft_is_bad(draft, key))
        return;
    addr_format_host(&prefix->addr, text);
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        if (is_allowed(prefix, &spaces[i], is_lenient) || !overlaps_text(prefix, spaces[i].prefix))
            continue;
        mistakes_error(mistakes, line, "\"%s\" is %s/%u, which overlaps %s (%s)%s", key, text,
                       prefix->len, spaces[i].name, spaces[i].prefix,
                       spaces[i].is_private ? ": map_v6_anyway = true allows it" : "");
        return;
    }
    if (find_own(prefix, own))
        mistakes_error(mistakes, line, "\"%s\" is %s/%u, which has this host's own address %s", key,
                       text, prefix->len, own);
}

void maps_check(const struct draft *draft, struct mistakes *mistakes)
{
    check_prefix(draft, "map_v4", &draft->config.map_v4, mistakes);
    check_prefix(draft, "map_v6", &draft->config.map_v6, mistakes);
}

/* returns: 1: it was read; 0: there is no such file; -1: it is of no use, and *reason says why. */
static int read_key(struct listener_config *listener, char reason[REASON_MAX])
{
    uint8_t bytes[CLIENT_MAP_KEY_LEN + 1];
    int fd = open(listener->map_key, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat status;

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0) {
        (void)snprintf(reason, REASON_MAX, "%s", strerror(errno));
        return -1;
    }
    ssize_t n =
        fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? read(fd, bytes, sizeof bytes) : -1;
    close(fd);
    if (n != CLIENT_MAP_KEY_LEN) {
        (void)snprintf(reason, REASON_MAX, "it must be a file of %d bytes", CLIENT_MAP_KEY_LEN);
        return -1;
    }
    memcpy(listener->map_secret.bytes, bytes, CLIENT_MAP_KEY_LEN);
    listener->has_map_secret = true;
    return 1;
}

void maps_read_key(struct draft *draft, struct mistakes *mistakes)
{
    char reason[REASON_MAX];

    if (!listener_config_maps(&draft->config, AF_INET6) || draft_is_bad(draft, "map_key"))
        return;
    if (read_key(&draft->config, reason) < 0)
        mistakes_error(mistakes, draft_line_of(draft, "map_key"), "\"map_key\" is \"%.255s\": %s",
                       draft->config.map_key, reason);
}

/* Written whole under another name: nobody ever reads half a key. returns: 0 or -errno. */
static int write_key(const char *path)
{
    uint8_t bytes[CLIENT_MAP_KEY_LEN];
    char temporary[CONFIG_MAP_KEY_MAX + 16];
    int err = 0;

    (void)snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return -EIO;
    (void)unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (fchmod(fd, 0600) < 0 || write(fd, bytes, sizeof bytes) != sizeof bytes || fsync(fd) < 0)
        err = errno != 0 ? -errno : -EIO;
    close(fd);
    /* Another start may have been first: its key stays. */
    if (err == 0 && link(temporary, path) < 0 && errno != EEXIST)
        err = -errno;
    (void)unlink(temporary);
    return err;
}

static void make_folder(const char *path)
{
    char folder[CONFIG_MAP_KEY_MAX];
    char *slash;

    (void)snprintf(folder, sizeof folder, "%s", path);
    slash = strrchr(folder, '/');
    if (slash && slash != folder) {
        *slash = '\0';
        (void)mkdir(folder, 0700); /* what is wrong with it is told by write_key */
    }
}

static bool create_key(struct listener_config *listener, const struct config_sink *sink)
{
    char reason[REASON_MAX] = "it is gone again";
    char line[1024];

    make_folder(listener->map_key);
    int err = write_key(listener->map_key);
    if (err < 0)
        (void)snprintf(reason, sizeof reason, "it can't be made: %s", strerror(-err));
    else if (read_key(listener, reason) > 0)
        return true;
    (void)snprintf(line, sizeof line, "%.400s:%u: \"map_key\" is \"%.255s\": %s",
                   listener->file ? listener->file : "mmproxy", listener->line, listener->map_key,
                   reason);
    sink->report(sink->context, true, line);
    return false;
}

bool config_create_map_keys(struct config *config, const struct config_sink *sink)
{
    bool is_good = true;

    for (size_t i = 0; i < config->n_listeners; i++) {
        struct listener_config *listener = &config->listeners[i];
        if (listener_config_maps(listener, AF_INET6) && !listener->has_map_secret)
            is_good = create_key(listener, sink) && is_good;
    }
    return is_good;
}
