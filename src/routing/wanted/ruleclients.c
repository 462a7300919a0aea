/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/ruleclients.h"

#include <stdio.h>
#include <string.h>

#include "mmproxy/routing/wanted/rulematch.h"
#include "mmproxy/routing/wanted/special.h"

enum {
    LONGEST_V4 = 24,
    LONGEST_V6 = 64,
    PORTS_MIN = 1000, /* fewer are those of a service */
};

struct list {
    sa_family_t family;
    struct ruleclients *items;
    size_t n;
    size_t max;
};

static bool is_same(const struct ruleclients *a, const struct ruleclients *b)
{
    return a->prefix.len == b->prefix.len && a->first_port == b->first_port &&
           a->last_port == b->last_port &&
           (a->prefix.len == 0 || addr_equal_host(&a->prefix.addr, &b->prefix.addr));
}

/* In order of length; the last one goes where there is no room. */
static void add(struct list *list, const struct ruleclients *new)
{
    size_t at = 0;

    for (size_t i = 0; i < list->n; i++) {
        if (is_same(&list->items[i], new))
            return;
    }
    while (at < list->n && list->items[at].prefix.len <= new->prefix.len)
        at++;
    if (at == list->max)
        return;
    if (list->n < list->max)
        list->n++;
    memmove(&list->items[at + 1], &list->items[at], (list->n - at - 1) * sizeof *list->items);
    list->items[at] = *new;
}

static void add_prefix(struct list *list, const char *value)
{
    struct ruleclients new = { .first_port = 0 };
    const char *reason;

    if (prefix_parse(&new.prefix, value, &reason) != PREFIX_BAD && new.prefix.len > 0 &&
        addr_family(&new.prefix.addr) ==
            list->family &&new.prefix.len <= (list->family == AF_INET6 ? LONGEST_V6 : LONGEST_V4) &&
        special_is_public(&new.prefix))
        add(list, &new);
}

static void add_ports(struct list *list, const char *value)
{
    unsigned first;
    unsigned last;

    if (sscanf(value, "%u-%u", &first, &last) == 2 && last <= UINT16_MAX && first < last &&
        last - first >= PORTS_MIN)
        add(list,
            &(struct ruleclients){ .first_port = (uint16_t)first, .last_port = (uint16_t)last });
}

/* The values behind some words of a rule: "ip saddr { a, b }". */
static void add_values(struct list *list, const char *at,
                       void (*add_value)(struct list *, const char *))
{
    char value[RULEMATCH_WORD_MAX];
    bool is_set;
    bool goes_on = true;

    (void)rulematch_take(&at, "!=");
    is_set = rulematch_take(&at, "{");
    while (goes_on && *at != '\n' && *at != '\0' && *at != '}') {
        size_t len = strcspn(at, " \t\n,");

        goes_on = is_set || at[len] == ',';
        add_value(list, rulematch_word(&at, value));
    }
}

static void look_for(struct list *list, const char *line, size_t len, const char *words,
                     void (*add_value)(struct list *, const char *))
{
    const char *at = line;

    while ((at = memmem(at, len - (size_t)(at - line), words, strlen(words)))) {
        at += strlen(words);
        add_values(list, at, add_value);
    }
}

size_t ruleclients_find(const char *text, sa_family_t family, struct ruleclients *out, size_t max)
{
    struct list list = { .family = family, .items = out, .max = max };
    bool is_v6 = family == AF_INET6;

    for (const char *at = text; max > 0 && *at != '\0'; at = rulematch_next_line(at)) {
        size_t len = strcspn(at, "\n");

        look_for(&list, at, len, is_v6 ? "ip6 saddr " : "ip saddr ", add_prefix);
        look_for(&list, at, len, is_v6 ? "ip6 daddr " : "ip daddr ", add_prefix);
        look_for(&list, at, len, " sport ", add_ports);
        look_for(&list, at, len, " dport ", add_ports);
    }
    return list.n;
}
