/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/nftlist.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_LEN = 512, CONNTRACK_PRIORITY = -200 };

/* Where the line stands: its table's families and its chain's hook. */
struct place {
    bool is_own;
    bool is_v4;
    bool is_v6;
    bool saves;    /* behind connection tracking in prerouting */
    bool restores; /* a route chain in output: it looks the route up anew */
};

void nftlist_close(struct nftlist *list)
{
    free(list->items);
    *list = (struct nftlist){ 0 };
}

bool nftlist_has_of(const struct nftlist *list, bool own, bool is_save, sa_family_t family,
                    uint32_t mark)
{
    for (size_t i = 0; i < list->n_items; i++) {
        const struct nftlist_mark *item = &list->items[i];

        if (item->is_own == own && item->is_save == is_save && item->mark == mark &&
            (family == AF_INET6 ? item->is_v6 : item->is_v4))
            return true;
    }
    return false;
}

bool nftlist_has(const struct nftlist *list, bool is_save, sa_family_t family, uint32_t mark)
{
    return nftlist_has_of(list, true, is_save, family, mark) ||
           nftlist_has_of(list, false, is_save, family, mark);
}

static int add(struct nftlist *list, const struct nftlist_mark *item)
{
    struct nftlist_mark *items = reallocarray(list->items, list->n_items + 1, sizeof *items);

    if (!items)
        return -ENOMEM;
    items[list->n_items++] = *item;
    list->items = items;
    return 0;
}

/* Steps over words where *text begins with them, as whole words. */
static bool take(const char **text, const char *words)
{
    size_t len = strlen(words);
    const char *end = *text + len;

    /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): words end there */
    if (strncmp(*text, words, len) != 0 || (*end != '\0' && *end != ' '))
        return false;
    *text = end + strspn(end, " ");
    return true;
}

static bool take_number(const char **text, uint32_t *out)
{
    char *end;
    unsigned long value;

    if (**text < '0' || **text > '9')
        return false;
    value = strtoul(*text, &end, 0);
    if (value > UINT32_MAX || (*end != '\0' && *end != ' '))
        return false;
    *out = (uint32_t)value;
    *text = end + strspn(end, " ");
    return true;
}

/* What a rule may say besides the mark without leaving a session's packets out. */
static bool take_harmless(const char **text, struct place *place)
{
    static const char *const words[] = { "meta l4proto tcp", "meta l4proto 6", "ip protocol tcp",
                                         "ip protocol 6",    "iif lo",         "iif \"lo\"",
                                         "iifname \"lo\"",   "iifname lo" };
    uint32_t number;

    if (take(text, "meta nfproto ipv4") || take(text, "meta nfproto 2")) {
        place->is_v6 = false;
        return true;
    }
    if (take(text, "meta nfproto ipv6") || take(text, "meta nfproto 10")) {
        place->is_v4 = false;
        return true;
    }
    if (take(text, "counter")) {
        if (take(text, "packets") && take_number(text, &number) && take(text, "bytes"))
            take_number(text, &number);
        return true;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (take(text, words[i]))
            return true;
    }
    return false;
}

static bool take_condition(const char **text, bool is_save, uint32_t *mark)
{
    if (!take(text, is_save ? "meta mark" : "ct mark"))
        return false;
    take(text, "==");
    return take_number(text, mark);
}

static bool take_statement(const char **text, bool is_save)
{
    if (is_save)
        return take(text, "ct mark set meta mark") || take(text, "ct mark set mark");
    return take(text, "meta mark set ct mark") || take(text, "mark set ct mark");
}

/* Is the rule, from its first word on, one that saves (or restores) one mark? */
static bool is_mark_rule(const char *text, bool is_save, struct place place,
                         struct nftlist_mark *out)
{
    bool has_mark = false;

    while (!take_statement(&text, is_save)) {
        if (!has_mark && take_condition(&text, is_save, &out->mark))
            has_mark = true;
        else if (!take_harmless(&text, &place))
            return false;
    }
    if (*text != '\0' && *text != '#' && !take(&text, "comment") &&
        strncmp(text, "comment ", 8) != 0)
        return false;
    out->is_save = is_save;
    out->is_own = place.is_own;
    out->is_v4 = place.is_v4;
    out->is_v6 = place.is_v6;
    return has_mark && out->mark != 0 && (place.is_v4 || place.is_v6);
}

static void enter_table(struct place *place, const char *text)
{
    *place = (struct place){ 0 };
    if (take(&text, "inet")) {
        place->is_v4 = place->is_v6 = true;
        place->is_own = take(&text, NFTLIST_OWN_TABLE);
    } else if (take(&text, "ip")) {
        place->is_v4 = true;
    } else if (take(&text, "ip6")) {
        place->is_v6 = true;
    }
}

/* "type filter hook prerouting priority -150; policy accept;" */
static void enter_chain(struct place *place, const char *text)
{
    char type[16];
    char hook[16];
    int priority;

    place->saves = place->restores = false;
    if (sscanf(text, "type %15s hook %15s priority %d", type, hook, &priority) != 3)
        return;
    place->saves = strcmp(hook, "prerouting") == 0 && priority > CONNTRACK_PRIORITY;
    place->restores =
        strcmp(hook, "output") == 0 && strcmp(type, "route") == 0 && priority > CONNTRACK_PRIORITY;
}

static int take_line(struct nftlist *list, struct place *place, const char *line)
{
    struct nftlist_mark item = { 0 };

    if (take(&line, "table"))
        enter_table(place, line);
    else if (strncmp(line, "chain ", 6) == 0)
        place->saves = place->restores = false;
    else if (strncmp(line, "type ", 5) == 0)
        enter_chain(place, line);
    else if ((place->saves && is_mark_rule(line, true, *place, &item)) ||
             (place->restores && is_mark_rule(line, false, *place, &item)))
        return add(list, &item);
    return 0;
}

/* Copies a line with its white space folded: nft prints two blanks for matches of iptables. */
static void fold(char out[LINE_MAX_LEN], const char *line, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len && n < LINE_MAX_LEN - 1; i++) {
        char c = line[i] == '\t' ? ' ' : line[i];

        if (c != ' ' || (n > 0 && out[n - 1] != ' '))
            out[n++] = c;
    }
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

int nftlist_parse(struct nftlist *list, const char *text)
{
    struct place place = { 0 };
    char line[LINE_MAX_LEN] = "";

    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        int err;

        fold(line, text, len);
        err = take_line(list, &place, line);
        if (err < 0)
            return err;
        text += len + (text[len] == '\n');
    }
    return 0;
}
