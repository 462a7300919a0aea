/* SPDX-License-Identifier: BSD-2-Clause */
#include "maps.h"

#include <string.h>

#include "mmproxy/base/subnets.h"
#include "own_addresses.h"

static bool overlaps_text(const struct prefix *prefix, const char *text)
{
    struct prefix other;
    const char *reason;

    return prefix_parse(&other, text, &reason) == PREFIX_OK && prefix_overlaps(prefix, &other);
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

/* 240.0.0.0/4 ends with the broadcast address, which is never chosen. */
static bool is_allowed(const struct prefix *prefix, const struct space *space, bool is_lenient)
{
    return (space->is_private && is_lenient) ||
           (strcmp(space->prefix, "255.255.255.255/32") == 0 && prefix->len < 32);
}

/* Services may trust it, as Postfix does with mynetworks_style = subnet. */
static void warn_of_network(const char *key, unsigned line, const struct prefix *prefix,
                            struct mistakes *mistakes)
{
    char text[ADDR_STRLEN];
    char network[OWN_NETWORK_STRLEN];

    if (own_addresses_find_network(prefix, network))
        mistakes_warn(mistakes, line,
                      "\"%s\" is %s/%u, which overlaps the network of this host's address %s: a "
                      "service that trusts its own network trusts mapped clients",
                      key, addr_format_host(&prefix->addr, text), prefix->len, network);
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
    if (own_addresses_find(prefix, own))
        mistakes_error(mistakes, line, "\"%s\" is %s/%u, which has this host's own address %s", key,
                       text, prefix->len, own);
    else
        warn_of_network(key, line, prefix, mistakes);
}

void maps_check(const struct draft *draft, struct mistakes *mistakes)
{
    check_prefix(draft, "map_v4", &draft->config.map_v4, mistakes);
    check_prefix(draft, "map_v6", &draft->config.map_v6, mistakes);
}
