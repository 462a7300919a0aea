/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each check sorts what must not be there twice. Equal things then stand side by side, in the
 * order in which they are written.
 */
#include "across.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "own_addresses.h"

struct endpoint {
    struct addr_range range;
    const struct draft *draft;
    unsigned line;
};

struct endpoints {
    struct endpoint *items;
    size_t n;
};

static int order(unsigned a, unsigned b)
{
    return (a > b) - (a < b);
}

static int by_name(const void *a, const void *b)
{
    const struct draft *left = *(const struct draft *const *)a;
    const struct draft *right = *(const struct draft *const *)b;
    int result = strcmp(left->config.name, right->config.name);

    return result != 0 ? result : order(left->line, right->line);
}

static int by_mark(const void *a, const void *b)
{
    const struct draft *left = *(const struct draft *const *)a;
    const struct draft *right = *(const struct draft *const *)b;
    int result = order(left->config.mark, right->config.mark);

    return result != 0 ? result : order(left->line, right->line);
}

static int compare_host(const struct addr *left, const struct addr *right)
{
    int result = order(addr_family(left), addr_family(right));

    if (result == 0)
        result = memcmp(addr_bytes(left), addr_bytes(right), addr_family(left) == AF_INET ? 4 : 16);
    if (result == 0 && addr_family(left) == AF_INET6)
        result = order(left->in6.sin6_scope_id, right->in6.sin6_scope_id);
    return result;
}

/* A wildcard address comes first in its family. */
static int by_place(const void *a, const void *b)
{
    const struct endpoint *left = a;
    const struct endpoint *right = b;
    int result = compare_host(&left->range.addr, &right->range.addr);

    if (result == 0)
        result = order(addr_port(&left->range.addr), addr_port(&right->range.addr));
    return result != 0 ? result : order(left->line, right->line);
}

static void check_names(const struct draft **drafts, size_t n, struct mistakes *mistakes)
{
    const struct draft *first = NULL;

    qsort(drafts, n, sizeof *drafts, by_name);
    for (size_t i = 0; i < n; i++) {
        const struct draft *draft = drafts[i];
        struct place place;

        if (!first || draft->config.name[0] == '\0' ||
            strcmp(first->config.name, draft->config.name) != 0) {
            first = draft;
            continue;
        }
        place = places_find(mistakes->places, draft_line_of(first, "name"));
        mistakes_error(mistakes, draft_line_of(draft, "name"),
                       "name \"%s\" is already taken (%s:%u)", draft->config.name, place.file,
                       place.line);
    }
}

static void check_marks(const struct draft **drafts, size_t n, struct mistakes *mistakes)
{
    const struct draft *first = NULL;

    qsort(drafts, n, sizeof *drafts, by_mark);
    for (size_t i = 0; i < n; i++) {
        const struct draft *draft = drafts[i];
        struct place place;

        if (draft_is_bad(draft, "mark") || draft_is_bad(draft, "table"))
            continue;
        if (!first || first->config.mark != draft->config.mark) {
            first = draft;
            continue;
        }
        if (first->config.table == draft->config.table)
            continue;
        place = places_find(mistakes->places, first->line);
        mistakes_error(mistakes, draft_line_of(draft, "table"),
                       "mark %u can't lead to table %u: it leads to table %u for listener \"%s\" "
                       "(%s:%u)",
                       draft->config.mark, draft->config.table, first->config.table,
                       first->config.name, place.file, place.line);
    }
}

static bool is_wildcard(const struct addr *addr)
{
    static const uint8_t any[16];

    return memcmp(addr_bytes(addr), any, addr_family(addr) == AF_INET ? 4 : 16) == 0;
}

static bool share_ports(const struct addr_range *a, const struct addr_range *b)
{
    return addr_port(&a->addr) <= b->last && addr_port(&b->addr) <= a->last;
}

bool across_overlaps(const struct addr_range *a, const struct addr_range *b)
{
    if (addr_family(&a->addr) != addr_family(&b->addr) || !share_ports(a, b))
        return false;
    return is_wildcard(&a->addr) || is_wildcard(&b->addr) || compare_host(&a->addr, &b->addr) == 0;
}

static void report_overlap(const struct endpoint *first, const struct endpoint *second,
                           struct mistakes *mistakes)
{
    assert(first && second);

    const struct endpoint *early = first->line <= second->line ? first : second;
    const struct endpoint *late = early == first ? second : first;
    struct place place = places_find(mistakes->places, early->line);
    char text[ADDR_RANGE_STRLEN];
    char other[ADDR_RANGE_STRLEN];

    addr_range_format(&late->range, text);
    if (addr_range_equal(&early->range, &late->range))
        mistakes_error(mistakes, late->line, "\"listen\" has %s, which is already taken (%s:%u)",
                       text, place.file, place.line);
    else
        mistakes_error(mistakes, late->line, "\"listen\" has %s, which overlaps %s (%s:%u)", text,
                       addr_range_format(&early->range, other), place.file, place.line);
}

/*
 * Of endpoints with this address, which stand side by side from items on: one that has a port of
 * the range, or NULL. They are sorted by their first port, and apart unless that is a mistake.
 */
static const struct endpoint *find_sharing(const struct endpoint *items, size_t n,
                                           const struct addr_range *range)
{
    size_t low = 0;

    while (n > 0) {
        size_t half = n / 2;
        if (addr_port(&items[low + half].range.addr) <= range->last) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    if (low == 0 || !share_ports(&items[low - 1].range, range))
        return NULL;
    /* Of several, the first. */
    while (low > 1 && share_ports(&items[low - 2].range, range))
        low--;
    return &items[low - 1];
}

/* How many of the sorted endpoints, from the first one on, have its address. */
static size_t count_with_host(const struct endpoint *items, size_t n)
{
    size_t same = 1;

    while (same < n && compare_host(&items[0].range.addr, &items[same].range.addr) == 0)
        same++;
    return same;
}

/* All with one address. wildcards: those of the family that are for any address. */
static void check_host(const struct endpoint *items, size_t n, const struct endpoint *wildcards,
                       size_t n_wildcards, struct mistakes *mistakes)
{
    const struct endpoint *widest = NULL; /* of those so far, that which ends last */

    for (size_t i = 0; i < n; i++) {
        const struct endpoint *wildcard = find_sharing(wildcards, n_wildcards, &items[i].range);

        if (widest && share_ports(&widest->range, &items[i].range))
            report_overlap(widest, &items[i], mistakes);
        else if (wildcard)
            report_overlap(wildcard, &items[i], mistakes);
        if (!widest || items[i].range.last > widest->range.last)
            widest = &items[i];
    }
}

static void check_addresses(const struct endpoints *endpoints, struct mistakes *mistakes)
{
    const struct endpoint *wildcards = NULL;
    size_t n_wildcards = 0;

    for (size_t i = 0; i < endpoints->n;) {
        const struct endpoint *items = &endpoints->items[i];
        size_t n = count_with_host(items, endpoints->n - i);

        if (i == 0 || addr_family(&items[-1].range.addr) != addr_family(&items->range.addr))
            n_wildcards = 0;
        check_host(items, n, wildcards, n_wildcards, mistakes);
        if (is_wildcard(&items->range.addr)) {
            wildcards = items;
            n_wildcards = n;
        }
        i += n;
    }
}

/* One that listens on a port of the range, or NULL. */
static const struct endpoint *find_endpoint(const struct endpoints *endpoints,
                                            const struct addr_range *range)
{
    const struct endpoint *items = endpoints->items;
    size_t low = 0;
    size_t n = endpoints->n;

    while (n > 0) {
        size_t half = n / 2;
        if (compare_host(&items[low + half].range.addr, &range->addr) < 0) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    if (low == endpoints->n || compare_host(&items[low].range.addr, &range->addr) != 0)
        return NULL;
    return find_sharing(&items[low], count_with_host(&items[low], endpoints->n - low), range);
}

static struct addr_range wildcard_of(const struct addr_range *range)
{
    static const uint8_t any[16];
    struct addr_range wildcard = *range;

    addr_from_bytes(&wildcard.addr, addr_family(&range->addr), any, addr_port(&range->addr));
    return wildcard;
}

bool across_is_loop(const struct addr_range *listen, const struct addr_range *target)
{
    const struct addr_range wildcard = wildcard_of(target);

    return addr_family(&listen->addr) == addr_family(&target->addr) &&
           share_ports(listen, target) &&
           (compare_host(&listen->addr, &target->addr) == 0 ||
            (compare_host(&listen->addr, &wildcard.addr) == 0 &&
             own_addresses_contain(&target->addr)));
}

static void report_loop(const struct endpoint *endpoint, const struct draft *draft,
                        const struct addr_range *range, const char *key, struct mistakes *mistakes)
{
    struct place place = places_find(mistakes->places, endpoint->line);
    char text[ADDR_RANGE_STRLEN];

    mistakes_error(mistakes, draft_line_of(draft, key),
                   "\"%s\" is %s, where this mmproxy listens itself (%s:%u): a loop", key,
                   addr_range_format(range, text), place.file, place.line);
}

static void check_loop(const struct endpoints *endpoints, const struct draft *draft,
                       sa_family_t family, const char *key, struct mistakes *mistakes)
{
    const struct addr *target = listener_config_target(&draft->config, family);
    struct port_range ports;

    /* The targets of another network namespace have nothing to do with this one's ports. */
    if (draft->config.netns[0] != '\0')
        return;
    for (size_t i = 0; listener_config_ports(&draft->config, family, i, &ports); i++) {
        struct addr_range range = { .addr = *target, .last = ports.last };
        addr_set_port(&range.addr, ports.first);
        const struct addr_range wildcard = wildcard_of(&range);
        const struct endpoint *endpoint = find_endpoint(endpoints, &range);
        if (!endpoint)
            endpoint = find_endpoint(endpoints, &wildcard);
        if (!endpoint || (is_wildcard(&endpoint->range.addr) && !own_addresses_contain(target)))
            continue;
        report_loop(endpoint, draft, &range, key, mistakes);
        return;
    }
}

static void collect_endpoints(enum protocol protocol, const struct draft *drafts, size_t n_drafts,
                              struct endpoints *out)
{
    out->n = 0;
    for (size_t i = 0; i < n_drafts; i++) {
        const struct draft *draft = &drafts[i];

        for (size_t j = 0; j < draft->config.n_listen && draft->config.protocol == protocol; j++)
            out->items[out->n++] = (struct endpoint){ .range = draft->config.listen[j],
                                                      .draft = draft,
                                                      .line = draft->listen_lines[j] };
    }
    qsort(out->items, out->n, sizeof *out->items, by_place);
}

/* A TCP and a UDP listener may share an address and port. */
static void check_protocol(enum protocol protocol, const struct draft *drafts, size_t n_drafts,
                           struct endpoints *endpoints, struct mistakes *mistakes)
{
    collect_endpoints(protocol, drafts, n_drafts, endpoints);
    check_addresses(endpoints, mistakes);
    for (size_t i = 0; i < n_drafts; i++) {
        if (drafts[i].config.protocol != protocol)
            continue;
        check_loop(endpoints, &drafts[i], AF_INET, "target_v4", mistakes);
        check_loop(endpoints, &drafts[i], AF_INET6, "target_v6", mistakes);
    }
}

static void report_metrics(const struct addr_range *metrics, unsigned line,
                           const struct addr_range *other, unsigned other_line,
                           struct mistakes *mistakes)
{
    struct place place = places_find(mistakes->places, other_line);
    char text[ADDR_RANGE_STRLEN];
    char other_text[ADDR_RANGE_STRLEN];

    addr_range_format(metrics, text);
    addr_range_format(other, other_text);
    if (addr_range_equal(metrics, other))
        mistakes_error(mistakes, line, "\"metrics\" is %s, which is already taken (%s:%u)", text,
                       place.file, place.line);
    else
        mistakes_error(mistakes, line, "\"metrics\" is %s, which overlaps %s (%s:%u)", text,
                       other_text, place.file, place.line);
}

void across_check_metrics(const struct addr_range *metrics, unsigned line,
                          const struct draft *drafts, size_t n_drafts, struct mistakes *mistakes)
{
    char text[ADDR_RANGE_STRLEN];

    if (!addr_is_set(&metrics->addr))
        return;
    if (!addr_is_loopback(&metrics->addr))
        mistakes_warn(mistakes, line,
                      "\"metrics\" is %s, which is not on loopback: every host that reaches this "
                      "address may read them",
                      addr_range_format(metrics, text));
    for (size_t i = 0; i < n_drafts; i++) {
        const struct draft *draft = &drafts[i];

        for (size_t j = 0; j < draft->config.n_listen; j++) {
            if (draft->config.protocol != PROTOCOL_TCP ||
                !across_overlaps(metrics, &draft->config.listen[j]))
                continue;
            report_metrics(metrics, line, &draft->config.listen[j], draft->listen_lines[j],
                           mistakes);
            return;
        }
    }
}

void across_check(const struct draft *drafts, size_t n_drafts, struct mistakes *mistakes)
{
    struct endpoints endpoints = { .n = 0 };
    const struct draft **sorted = calloc(n_drafts + 1, sizeof(const void *));
    size_t n_addresses = 0;

    for (size_t i = 0; i < n_drafts; i++)
        n_addresses += drafts[i].config.n_listen;
    endpoints.items = calloc(n_addresses + 1, sizeof *endpoints.items);
    if (!sorted || !endpoints.items) {
        mistakes_error(mistakes, 0, "out of memory");
        goto out;
    }
    for (size_t i = 0; i < n_drafts; i++)
        sorted[i] = &drafts[i];
    check_names(sorted, n_drafts, mistakes);
    check_marks(sorted, n_drafts, mistakes);
    check_protocol(PROTOCOL_TCP, drafts, n_drafts, &endpoints, mistakes);
    check_protocol(PROTOCOL_UDP, drafts, n_drafts, &endpoints, mistakes);
out:
    free(sorted);
    free(endpoints.items);
}
