/* SPDX-License-Identifier: BSD-2-Clause */
#include "own_addresses.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

static bool share_bits(const struct addr *a, const struct addr *b, unsigned len)
{
    const uint8_t *left = addr_bytes(a);
    const uint8_t *right = addr_bytes(b);
    unsigned whole = len / 8;

    return memcmp(left, right, whole) == 0 &&
           (len % 8 == 0 || (left[whole] ^ right[whole]) >> (8 - len % 8) == 0);
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b)
{
    return addr_family(&a->addr) == addr_family(&b->addr) &&
           share_bits(&a->addr, &b->addr, a->len < b->len ? a->len : b->len);
}

static bool read_addr(struct addr *out, const struct sockaddr *from, sa_family_t family)
{
    *out = (struct addr){ 0 };
    if (!from || from->sa_family != family)
        return false;
    memcpy(out, from, family == AF_INET ? sizeof out->in : sizeof out->in6);
    return true;
}

static const char *find(const struct prefix *prefix, const struct sockaddr *sockaddr,
                        char buf[ADDR_STRLEN])
{
    struct prefix own = { .len = prefix->len };

    return read_addr(&own.addr, sockaddr, addr_family(&prefix->addr)) &&
                   prefix_overlaps(prefix, &own)
               ? addr_format_host(&own.addr, buf)
               : NULL;
}

const char *own_addresses_find(const struct prefix *prefix, char buf[ADDR_STRLEN])
{
    struct ifaddrs *all = NULL;
    const char *found = NULL;

    if (getifaddrs(&all) < 0)
        return NULL;
    for (const struct ifaddrs *each = all; each && !found; each = each->ifa_next) {
        found = find(prefix, each->ifa_addr, buf);
        if (!found && (each->ifa_flags & IFF_BROADCAST) != 0)
            found = find(prefix, each->ifa_broadaddr, buf);
    }
    freeifaddrs(all);
    return found;
}

static unsigned count_bits(const struct addr *mask)
{
    unsigned n = 0;

    for (size_t i = 0; i < (addr_family(mask) == AF_INET ? 4 : 16); i++)
        n += (unsigned)__builtin_popcount(addr_bytes(mask)[i]);
    return n;
}

const char *own_addresses_find_network(const struct prefix *prefix, char buf[OWN_NETWORK_STRLEN])
{
    sa_family_t family = addr_family(&prefix->addr);
    struct ifaddrs *all = NULL;
    bool found = false;

    if (getifaddrs(&all) < 0)
        return NULL;
    for (const struct ifaddrs *each = all; each && !found; each = each->ifa_next) {
        char text[ADDR_STRLEN];
        struct prefix own;
        struct addr mask;

        if (!read_addr(&own.addr, each->ifa_addr, family) ||
            !read_addr(&mask, each->ifa_netmask, family))
            continue;
        own.len = count_bits(&mask);
        if (own.len == 0 || !prefix_overlaps(prefix, &own))
            continue;
        (void)snprintf(buf, OWN_NETWORK_STRLEN, "%s/%u", addr_format_host(&own.addr, text),
                       own.len);
        found = true;
    }
    freeifaddrs(all);
    return found ? buf : NULL;
}

bool own_addresses_contain(const struct addr *addr)
{
    const struct prefix whole = { .addr = *addr, .len = addr_family(addr) == AF_INET ? 32 : 128 };
    char text[ADDR_STRLEN];

    return addr_is_loopback(addr) || own_addresses_find(&whole, text);
}
