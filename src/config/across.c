/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each check sorts what must not be there twice. Equal things then stand side by side, in the
 * order in which they are written.
 */
#include "across.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct endpoint {
    struct addr addr;
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

static int compare_addr(const struct addr *left, const struct addr *right)
{
    int result = order(addr_family(left), addr_family(right));

    if (result == 0)
        result = order(addr_port(left), addr_port(right));
    if (result == 0)
        result = memcmp(addr_bytes(left), addr_bytes(right), addr_family(left) == AF_INET ? 4 : 16);
    if (result == 0 && addr_family(left) == AF_INET6)
        result = order(left->in6.sin6_scope_id, right->in6.sin6_scope_id);
    return result;
}

static int by_addr(const void *a, const void *b)
{
    const struct endpoint *left = a;
    const struct endpoint *right = b;

    return compare_addr(&left->addr, &right->addr);
}

static int by_addr_and_line(const void *a, const void *b)
{
    int result = by_addr(a, b);

    return result != 0
               ? result
               : order(((const struct endpoint *)a)->line, ((const struct endpoint *)b)->line);
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

bool across_overlaps(const struct addr *a, const struct addr *b)
{
    if (addr_family(a) != addr_family(b) || addr_port(a) != addr_port(b))
        return false;
    return is_wildcard(a) || is_wildcard(b) || compare_addr(a, b) == 0;
}

static void report_overlap(const struct endpoint *first, const struct endpoint *second,
                           struct mistakes *mistakes)
{
    const struct endpoint *early = first->line <= second->line ? first : second;
    const struct endpoint *late = early == first ? second : first;
    struct place place = places_find(mistakes->places, early->line);
    char text[ADDR_STRLEN];
    char other[ADDR_STRLEN];

    addr_format(&late->addr, text);
    if (compare_addr(&early->addr, &late->addr) == 0)
        mistakes_error(mistakes, late->line, "\"listen\" has %s, which is already taken (%s:%u)",
                       text, place.file, place.line);
    else
        mistakes_error(mistakes, late->line, "\"listen\" has %s, which overlaps %s (%s:%u)", text,
                       addr_format(&early->addr, other), place.file, place.line);
}

/* A wildcard address comes first among those with its family and port. */
static void check_addresses(const struct endpoints *endpoints, struct mistakes *mistakes)
{
    const struct endpoint *wildcard = NULL;
    const struct endpoint *first = NULL;

    for (size_t i = 0; i < endpoints->n; i++) {
        const struct endpoint *endpoint = &endpoints->items[i];

        if (first && compare_addr(&first->addr, &endpoint->addr) == 0) {
            report_overlap(first, endpoint, mistakes);
            continue;
        }
        first = endpoint;
        if (is_wildcard(&endpoint->addr))
            wildcard = endpoint;
        else if (wildcard && across_overlaps(&wildcard->addr, &endpoint->addr))
            report_overlap(wildcard, endpoint, mistakes);
    }
}

/* Of several with that address, the first in the file. */
static const struct endpoint *find_endpoint(const struct endpoints *endpoints,
                                            const struct addr *addr)
{
    struct endpoint wanted = { .addr = *addr };
    const struct endpoint *found = NULL;

    if (endpoints->n > 0)
        found = bsearch(&wanted, endpoints->items, endpoints->n, sizeof wanted, by_addr);
    while (found && found > endpoints->items && by_addr(found - 1, found) == 0)
        found--;
    return found;
}

/* Which addresses besides loopback are this host's is not known here. */
struct addr across_wildcard(const struct addr *target)
{
    static const uint8_t any[16];
    struct addr wildcard = *target;

    if (addr_is_loopback(target))
        addr_from_bytes(&wildcard, addr_family(target), any, addr_port(target));
    return wildcard;
}

static void check_loop(const struct endpoints *endpoints, const struct draft *draft,
                       const struct addr *target, const char *key, struct mistakes *mistakes)
{
    const struct endpoint *endpoint;
    struct place place;
    struct addr wildcard;
    char text[ADDR_STRLEN];

    /* The targets of another network namespace have nothing to do with this one's ports. */
    if (!addr_is_set(target) || draft->config.netns[0] != '\0')
        return;
    endpoint = find_endpoint(endpoints, target);
    if (!endpoint) {
        wildcard = across_wildcard(target);
        endpoint = find_endpoint(endpoints, &wildcard);
    }
    if (!endpoint)
        return;
    place = places_find(mistakes->places, endpoint->line);
    mistakes_error(mistakes, draft_line_of(draft, key),
                   "\"%s\" is %s, where this mmproxy listens itself (%s:%u): a loop", key,
                   addr_format(target, text), place.file, place.line);
}

static void collect_endpoints(enum protocol protocol, const struct draft *drafts, size_t n_drafts,
                              struct endpoints *out)
{
    out->n = 0;
    for (size_t i = 0; i < n_drafts; i++) {
        const struct draft *draft = &drafts[i];

        for (size_t j = 0; j < draft->config.n_listen && draft->config.protocol == protocol; j++)
            out->items[out->n++] = (struct endpoint){ .addr = draft->config.listen[j],
                                                      .draft = draft,
                                                      .line = draft->listen_lines[j] };
    }
    qsort(out->items, out->n, sizeof *out->items, by_addr_and_line);
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
        check_loop(endpoints, &drafts[i], &drafts[i].config.target_v4, "target_v4", mistakes);
        check_loop(endpoints, &drafts[i], &drafts[i].config.target_v6, "target_v6", mistakes);
    }
}

static void report_metrics(const struct addr *metrics, unsigned line, const struct addr *other,
                           unsigned other_line, struct mistakes *mistakes)
{
    struct place place = places_find(mistakes->places, other_line);
    char text[ADDR_STRLEN];
    char other_text[ADDR_STRLEN];

    addr_format(metrics, text);
    addr_format(other, other_text);
    if (compare_addr(metrics, other) == 0)
        mistakes_error(mistakes, line, "\"metrics\" is %s, which is already taken (%s:%u)", text,
                       place.file, place.line);
    else
        mistakes_error(mistakes, line, "\"metrics\" is %s, which overlaps %s (%s:%u)", text,
                       other_text, place.file, place.line);
}

void across_check_metrics(const struct addr *metrics, unsigned line, const struct draft *drafts,
                          size_t n_drafts, struct mistakes *mistakes)
{
    char text[ADDR_STRLEN];

    if (!addr_is_set(metrics))
        return;
    if (!addr_is_loopback(metrics))
        mistakes_warn(mistakes, line,
                      "\"metrics\" is %s, which is not on loopback: every host that reaches this "
                      "address may read them",
                      addr_format(metrics, text));
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
