/* SPDX-License-Identifier: BSD-2-Clause */
/* The nftables ruleset as text. */
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "mmproxy/routing/wanted/nftlist.h"

static bool is_same(const struct nftlist_mark *a, const struct nftlist_mark *b)
{
    return a->kind == b->kind && a->is_own == b->is_own && a->is_v4 == b->is_v4 &&
           a->is_v6 == b->is_v6 && a->mark == b->mark && a->port == b->port &&
           a->last_port == b->last_port && a->is_tcp == b->is_tcp && a->is_udp == b->is_udp &&
           a->table == b->table && a->is_record == b->is_record && strcmp(a->set, b->set) == 0 &&
           addr_equal(&a->source, &b->source);
}

/* Do both begin with the same rules, as many as the shorter one has? */
static bool begins_as(const struct nftlist *shorter, const struct nftlist *longer)
{
    bool is_same_so_far = shorter->n_items <= longer->n_items;

    for (size_t i = 0; is_same_so_far && i < shorter->n_items; i++)
        is_same_so_far = is_same(&shorter->items[i], &longer->items[i]);
    return is_same_so_far;
}

/* What follows a line never takes back what was found so far. */
static void check_cut(const struct nftlist *whole, const char *text, size_t at)
{
    struct nftlist list = { 0 };
    const char *newline = strchr(text + at, '\n');
    char *copy = strndup(text, newline != NULL ? (size_t)(newline - text) : strlen(text));

    PROPERTY(copy != NULL);
    PROPERTY(nftlist_parse(&list, copy) == 0);
    PROPERTY(begins_as(&list, whole));
    nftlist_close(&list);
    free(copy);
}

/* White space may be wider, and stand at the ends of lines, and changes nothing. */
static void check_white_space(const struct nftlist *whole, const char *text)
{
    struct nftlist list = { 0 };
    char *wide = malloc(3 * strlen(text) + 1);
    char *end = wide;

    PROPERTY(wide != NULL);
    for (; *text != '\0'; text++) {
        if (*text == ' ' || *text == '\n')
            *end++ = '\t';
        if (*text == ' ')
            *end++ = ' ';
        *end++ = *text;
    }
    *end = '\0';
    PROPERTY(nftlist_parse(&list, wide) == 0);
    PROPERTY(list.n_items == whole->n_items && begins_as(&list, whole));
    nftlist_close(&list);
    free(wide);
}

/* A rule with one more condition in front may leave packets out, so it is none of them. */
static void check_condition(const struct nftlist *whole, const char *text)
{
    struct nftlist list = { 0 };
    size_t n_rules = 0;
    char *narrow = malloc(16 * strlen(text) + 16);
    char *end = narrow;

    PROPERTY(narrow != NULL);
    for (const char *line = text; *line != '\0';) {
        size_t len;

        line += strspn(line, "\t ");
        len = strcspn(line, "\n");
        if (strncmp(line, "table ", 6) != 0 && strncmp(line, "chain ", 6) != 0 &&
            strncmp(line, "type ", 5) != 0 && len > 0) {
            end = stpcpy(end, "tcp dport 1 ");
            n_rules++;
        }
        memcpy(end, line, len);
        end += len;
        *end++ = '\n';
        line += len + (line[len] == '\n');
    }
    *end = '\0';
    PROPERTY(nftlist_parse(&list, narrow) == 0);
    PROPERTY(list.n_items == 0 && whole->n_items <= n_rules);
    nftlist_close(&list);
    free(narrow);
}

/* What a rule was parsed to is what somebody wants who wants just that. */
static bool is_found(const struct nftlist *list, const struct nftlist_mark *mark,
                     sa_family_t family)
{
    static const uint8_t any[16] = { 1 };
    struct wanted_item item = {
        .kind = mark->kind, .family = family, .mark = mark->mark, .is_udp = mark->is_udp
    };

    addr_from_bytes(&item.source, family,
                    addr_is_set(&mark->source) ? addr_bytes(&mark->source) : any, mark->port);
    return nftlist_has(list, &item);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct nftlist list = { 0 };
    char *text = malloc(len + 1);

    PROPERTY(text != NULL);
    memcpy(text, bytes, len);
    text[len] = '\0';
    PROPERTY(nftlist_parse(&list, text) == 0);
    for (size_t i = 0; i < list.n_items; i++) {
        const struct nftlist_mark *item = &list.items[i];

        PROPERTY(item->mark != 0);
        PROPERTY(item->is_v4 || item->is_v6);
        if (item->kind == WANTED_MARK_FLOWS)
            continue; /* half of what is wanted */
        if (item->is_v4)
            PROPERTY(is_found(&list, item, AF_INET));
        if (item->is_v6)
            PROPERTY(is_found(&list, item, AF_INET6));
    }
    PROPERTY(list.n_items == 0 || (strstr(text, "table") && strstr(text, "hook")));
    if (len > 0)
        check_cut(&list, text, bytes[0] * strlen(text) / 256);
    check_white_space(&list, text);
    check_condition(&list, text);
    nftlist_close(&list);
    free(text);
    return 0;
}
