/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/nftlist.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_LEN = 512, CONNTRACK_PRIORITY = -200, MANGLE_PRIORITY = -150 };

/* Names of tables that --rules prints begin so. */
#define MANUAL_TABLES "inet " NFTLIST_OWN_TABLE "-"

/* Where the line stands: its table's families and its chain's hook. */
struct context {
    unsigned table; /* its number */
    bool is_own;
    bool is_v4;
    bool is_v6;
    bool is_prerouting;
    bool saves;    /* behind connection tracking in prerouting */
    bool records;  /* in output, before replies are marked */
    bool restores; /* a route chain in output: it looks the route up anew */
};

void nftlist_close(struct nftlist *list)
{
    for (size_t i = 0; i < list->n_tables; i++)
        free(list->tables[i]);
    free(list->tables);
    free(list->items);
    *list = (struct nftlist){ 0 };
}

/* Does something fill the set that the rule marks by? */
static bool is_filled(const struct nftlist *list, const struct nftlist_mark *mark)
{
    for (size_t i = 0; i < list->n_items; i++) {
        const struct nftlist_mark *other = &list->items[i];

        if (other->is_record && other->table == mark->table && other->mark == mark->mark &&
            other->is_v4 == mark->is_v4 && strcmp(other->set, mark->set) == 0)
            return true;
    }
    return false;
}

/* A set of another program is left out. */
static bool lasts(const struct nftlist_mark *mark, const struct wanted_item *item)
{
    unsigned timeout_s = flows_timeout_of(mark->set);

    return timeout_s == 0 || timeout_s >= item->timeout_s;
}

static bool does(const struct nftlist *list, const struct nftlist_mark *mark,
                 const struct wanted_item *item)
{
    if (mark->kind != item->kind || mark->mark != item->mark ||
        !(item->family == AF_INET6 ? mark->is_v6 : mark->is_v4))
        return false;
    if (item->kind == WANTED_MARK_FLOWS)
        return !mark->is_record && lasts(mark, item) && is_filled(list, mark);
    return item->kind != WANTED_MARK_REPLIES ||
           (!(item->is_udp ? mark->is_tcp : mark->is_udp) &&
            (mark->port == 0 ||
             (mark->port <= addr_port(&item->source) && item->last_port <= mark->last_port)) &&
            (!addr_is_set(&mark->source) || addr_equal_host(&mark->source, &item->source)));
}

bool nftlist_has_of(const struct nftlist *list, bool own, const struct wanted_item *item)
{
    for (size_t i = 0; i < list->n_items; i++) {
        if (list->items[i].is_own == own && does(list, &list->items[i], item))
            return true;
    }
    return false;
}

bool nftlist_has(const struct nftlist *list, const struct wanted_item *item)
{
    return nftlist_has_of(list, true, item) || nftlist_has_of(list, false, item);
}

bool nftlist_has_table(const struct nftlist *list, const char *table)
{
    for (size_t i = 0; i < list->n_tables; i++) {
        if (strcmp(list->tables[i], table) == 0)
            return true;
    }
    return false;
}

static int add_table(struct nftlist *list, const char *name, size_t len)
{
    char **tables = reallocarray(list->tables, list->n_tables + 1, sizeof *tables);

    if (!tables)
        return -ENOMEM;
    list->tables = tables;
    tables[list->n_tables] = strndup(name, len);
    if (!tables[list->n_tables])
        return -ENOMEM;
    list->n_tables++;
    return 0;
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

static bool take_one_of(const char **text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (take(text, words[i]))
            return true;
    }
    return false;
}

static bool take_family(const char **text, struct context *context)
{
    if (take(text, "meta nfproto ipv4") || take(text, "meta nfproto 2")) {
        context->is_v6 = false;
        return true;
    }
    if (take(text, "meta nfproto ipv6") || take(text, "meta nfproto 10")) {
        context->is_v4 = false;
        return true;
    }
    return false;
}

static bool take_counter(const char **text)
{
    uint32_t number;

    if (!take(text, "counter"))
        return false;
    if (take(text, "packets") && take_number(text, &number) && take(text, "bytes"))
        take_number(text, &number);
    return true;
}

static bool take_udp(const char **text)
{
    return take(text, "meta l4proto udp") || take(text, "meta l4proto 17");
}

/* Words of a rule, besides the mark, that leave out no packet of a session. */
static bool take_harmless(const char **text, struct context *context)
{
    static const char *const words[] = { "meta l4proto tcp", "meta l4proto 6", "ip protocol tcp",
                                         "ip protocol 6" };

    return take_family(text, context) || take_counter(text) ||
           take_one_of(text, words, sizeof words / sizeof *words);
}

/* connmark's packets all come in on lo. */
static bool take_lo(const char **text)
{
    static const char *const words[] = { "iif lo", "iif \"lo\"", "iifname \"lo\"", "iifname lo" };

    return take_one_of(text, words, sizeof words / sizeof *words);
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

static bool is_end(const char *text)
{
    return *text == '\0' || *text == '#' || take(&text, "comment") ||
           strncmp(text, "comment ", 8) == 0;
}

/* Adds what the table and chain say. returns: does the rule do anything there? */
static bool stands_in(struct context context, struct nftlist_mark *out)
{
    out->is_own = context.is_own;
    out->is_v4 = context.is_v4;
    out->is_v6 = context.is_v6;
    return out->mark != 0 && (context.is_v4 || context.is_v6);
}

/* Does the rule, from its first word on, save (or restore) one mark? */
static bool is_mark_rule(const char *text, bool is_save, struct context context,
                         struct nftlist_mark *out)
{
    bool has_mark = false;

    while (!take_statement(&text, is_save)) {
        if (!has_mark && take_condition(&text, is_save, &out->mark))
            has_mark = true;
        else if (!take_harmless(&text, &context) && !take_lo(&text))
            return false;
    }
    out->kind = is_save ? WANTED_SAVE_MARK : WANTED_RESTORE_MARK;
    return has_mark && is_end(text) && stands_in(context, out);
}

/* "ip saddr 172.18.0.2"; a prefix, a set or a range leaves packets out. */
static bool take_source(const char **text, struct context *context, struct addr *out)
{
    const char *at = *text;
    bool is_v6 = take(&at, "ip6 saddr");
    char host[ADDR_STRLEN];

    if (addr_is_set(out) || (!is_v6 && !take(&at, "ip saddr")))
        return false;
    size_t len = strcspn(at, " ");
    if (len >= sizeof host)
        return false;
    memcpy(host, at, len);
    host[len] = '\0';
    if (addr_parse_host(out, host) || (addr_family(out) == AF_INET6) != is_v6) {
        *out = (struct addr){ 0 };
        return false;
    }
    *(is_v6 ? &context->is_v4 : &context->is_v6) = false;
    *text = at + len + strspn(at + len, " ");
    return true;
}

/* "22" or "8000-8099" */
static bool take_port_range(const char **text, struct nftlist_mark *out)
{
    unsigned first;
    unsigned last;
    int len = 0;

    /* NOLINTNEXTLINE(cert-err34-c): what does not fit is above the limit as well */
    if (sscanf(*text, "%6u-%6u%n", &first, &last, &len) < 2 || len == 0) {
        if (sscanf(*text, "%6u%n", &first, &len) < 1) /* NOLINT(cert-err34-c) */
            return false;
        last = first;
    }
    if (first == 0 || first > last || last > UINT16_MAX ||
        ((*text)[len] != '\0' && (*text)[len] != ' '))
        return false;
    out->port = (uint16_t)first;
    out->last_port = (uint16_t)last;
    *text += len + (int)strspn(*text + len, " ");
    return true;
}

static bool take_port(const char **text, struct nftlist_mark *out)
{
    const char *at = *text;
    bool is_udp = take(&at, "udp sport");

    if (out->port != 0 || (!is_udp && !take(&at, "tcp sport")) || !take_port_range(&at, out))
        return false;
    *(is_udp ? &out->is_udp : &out->is_tcp) = true;
    *text = at;
    return true;
}

static bool take_protocol(const char **text, struct nftlist_mark *out)
{
    bool is_tcp = take(text, "meta l4proto tcp") || take(text, "meta l4proto 6");
    bool is_udp = !is_tcp && take_udp(text);

    out->is_tcp |= is_tcp;
    out->is_udp |= is_udp;
    return is_tcp || is_udp;
}

/* Does the rule, from its first word on, mark the replies of a target, or of all? */
static bool is_replies_rule(const char *text, struct context context, struct nftlist_mark *out)
{
    bool has_socket = false;

    *out = (struct nftlist_mark){ .kind = WANTED_MARK_REPLIES };
    while (!take(&text, "meta mark set")) {
        if (take(&text, "socket transparent 1"))
            has_socket = true;
        else if (!take_source(&text, &context, &out->source) && !take_port(&text, out) &&
                 !take_protocol(&text, out) && !take_harmless(&text, &context))
            return false;
    }
    return take_number(&text, &out->mark) && is_end(text) && has_socket &&
           !(out->is_tcp && out->is_udp) && stands_in(context, out);
}

static bool take_set(const char **text, char set[FLOWS_SET_MAX])
{
    size_t len = strcspn(*text, " ");

    if (**text != '@' || len < 2 || len > FLOWS_SET_MAX ||
        (set[0] && strncmp(set, *text + 1, len - 1) != 0))
        return false;
    memcpy(set, *text + 1, len - 1);
    set[len - 1] = '\0';
    *text += len + strspn(*text + len, " ");
    return true;
}

/* "ip saddr . udp sport . udp dport": of a datagram of ours; of a reply the other way round. */
static bool take_flow(const char **text, bool is_record, struct context *context)
{
    bool is_v4 = take(text, is_record ? "ip saddr" : "ip daddr");

    if (!is_v4 && !take(text, is_record ? "ip6 saddr" : "ip6 daddr"))
        return false;
    *(is_v4 ? &context->is_v6 : &context->is_v4) = false;
    return take(text, is_record ? ". udp sport . udp dport" : ". udp dport . udp sport");
}

static bool take_update(const char **text, bool is_record, struct context *context,
                        char set[FLOWS_SET_MAX])
{
    return take(text, "update") && take_set(text, set) && take(text, "{") &&
           take_flow(text, is_record, context) && take(text, "}");
}

/* Does the rule record the flows of marked packets? */
static bool is_record_rule(const char *text, struct context context, struct nftlist_mark *out)
{
    bool has_mark = false;

    *out = (struct nftlist_mark){ .kind = WANTED_MARK_FLOWS, .is_record = true };
    while (strncmp(text, "update ", 7) != 0) {
        bool is_mark = !has_mark && take_condition(&text, true, &out->mark);

        has_mark |= is_mark;
        if (!is_mark && !take_udp(&text) && !take_family(&text, &context) && !take_counter(&text))
            return false;
    }
    out->table = context.table;
    return has_mark && take_update(&text, true, &context, out->set) && is_end(text) &&
           stands_in(context, out);
}

/* Does the rule mark the replies of such a flow? */
static bool is_flow_rule(const char *text, struct context context, struct nftlist_mark *out)
{
    bool has_flow = false;

    *out = (struct nftlist_mark){ .kind = WANTED_MARK_FLOWS };
    while (!take(&text, "meta mark set")) {
        if (!has_flow && take_flow(&text, false, &context) && take_set(&text, out->set))
            has_flow = true;
        else if (!(has_flow && take_update(&text, false, &context, out->set)) && !take_udp(&text) &&
                 !take_family(&text, &context) && !take_counter(&text))
            return false;
    }
    out->table = context.table;
    return has_flow && take_number(&text, &out->mark) && is_end(text) && stands_in(context, out);
}

static void enter_table(struct context *context, const char *text)
{
    *context = (struct context){ .table = context->table + 1 };
    if (take(&text, "inet")) {
        context->is_v4 = context->is_v6 = true;
        context->is_own = take(&text, NFTLIST_OWN_TABLE);
    } else if (take(&text, "ip")) {
        context->is_v4 = true;
    } else if (take(&text, "ip6")) {
        context->is_v6 = true;
    }
}

static void leave_chain(struct context *context)
{
    context->is_prerouting = context->saves = context->records = context->restores = false;
}

/* "type filter hook prerouting priority -150; policy accept;" */
static void enter_chain(struct context *context, const char *text)
{
    char type[16];
    char hook[16];
    int priority;

    leave_chain(context);
    if (sscanf(text, "type %15s hook %15s priority %d", type, hook, &priority) != 3)
        return;
    context->is_prerouting = strcmp(hook, "prerouting") == 0;
    context->saves = context->is_prerouting && priority > CONNTRACK_PRIORITY;
    context->records = strcmp(hook, "output") == 0 && priority < MANGLE_PRIORITY;
    context->restores =
        strcmp(hook, "output") == 0 && strcmp(type, "route") == 0 && priority > CONNTRACK_PRIORITY;
}

static int take_line(struct nftlist *list, struct context *context, const char *line)
{
    struct nftlist_mark item = { 0 };

    if (take(&line, "table")) {
        enter_table(context, line);
        return strncmp(line, MANUAL_TABLES, strlen(MANUAL_TABLES)) == 0
                   ? add_table(list, line, strcspn(line, "{") - 1)
                   : 0;
    }
    if (take(&line, "flags dormant")) /* the table does nothing */
        context->is_v4 = context->is_v6 = false;
    else if (strncmp(line, "chain ", 6) == 0)
        leave_chain(context);
    else if (strncmp(line, "type ", 5) == 0)
        enter_chain(context, line);
    else if ((context->saves && is_mark_rule(line, true, *context, &item)) ||
             (context->restores && is_mark_rule(line, false, *context, &item)) ||
             (context->records && is_record_rule(line, *context, &item)) ||
             (context->restores && is_flow_rule(line, *context, &item)) ||
             (context->is_prerouting && is_replies_rule(line, *context, &item)))
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
    struct context context = { 0 };
    char line[LINE_MAX_LEN] = "";

    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        int err;

        fold(line, text, len);
        err = take_line(list, &context, line);
        if (err < 0)
            return err;
        text += len + (text[len] == '\n');
    }
    return 0;
}
