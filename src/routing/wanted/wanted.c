/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/wanted.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/base/shell.h"
#include "mmproxy/net/congestion.h"
#include "mmproxy/routing/wanted/flows.h"

/*
 * The most that one listener needs for one family: save, restore, rule, route, two sysctls; and the
 * replies of each range of ports.
 */
enum {
    PER_FAMILY_MAX = 5 + WANTED_OUTBOUND_MAX + PORT_LIST_MAX,
    TABLE_NAME_MAX = 96,
    PORTS_TEXT_MAX = 16
};

const char *wanted_prefix(sa_family_t family)
{
    return family == AF_INET6 ? "::1/128" : "127.0.0.0/8";
}

bool wanted_item_equal(const struct wanted_item *a, const struct wanted_item *b)
{
    return a->kind == b->kind && a->family == b->family && a->mark == b->mark &&
           a->table == b->table && strcmp(a->sysctl, b->sysctl) == 0 && a->is_udp == b->is_udp &&
           a->timeout_s == b->timeout_s && a->last_port == b->last_port &&
           addr_equal(&a->source, &b->source);
}

static const char *protocol_of(const struct wanted_item *item)
{
    return item->is_udp ? "udp" : "tcp";
}

bool wanted_has(const struct wanted *wanted, const struct wanted_item *item)
{
    for (size_t i = 0; i < wanted->n_items; i++) {
        if (wanted_item_equal(&wanted->items[i], item))
            return true;
    }
    return false;
}

bool wanted_is_mark(const struct wanted_item *item)
{
    return item->kind <= WANTED_MARK_FLOWS;
}

bool wanted_has_marks(const struct wanted *wanted)
{
    for (size_t i = 0; i < wanted->n_items; i++) {
        if (wanted_is_mark(&wanted->items[i]))
            return true;
    }
    return false;
}

void wanted_write_item(FILE *file, const struct wanted_item *item)
{
    char source[ADDR_STRLEN] = "-";

    if (item->kind == WANTED_MARK_REPLIES)
        addr_format(&item->source, source);
    fprintf(file, "%d %d %u %u %s %s %s %u %u\n", (int)item->kind, item->family == AF_INET6 ? 6 : 4,
            item->mark, item->table, item->sysctl[0] ? item->sysctl : "-", source,
            protocol_of(item), item->timeout_s, item->last_port);
}

bool wanted_parse_item(const char *line, struct wanted_item *out)
{
    char source[ADDR_STRLEN];
    char protocol[4];
    unsigned last_port = 0;
    int family;
    int kind;
    int n;

    _Static_assert(WANTED_SYSCTL_MAX == 64 && ADDR_STRLEN > 63, "the widths below");
    *out = (struct wanted_item){ 0 };
    n = sscanf(line, "%d %d %u %u %63s %63s %3s %u %u", &kind, &family, &out->mark, &out->table,
               out->sysctl, source, protocol, &out->timeout_s, &last_port);
    if (n < 8 || kind < 0 || kind > WANTED_SYSCTL || last_port > UINT16_MAX)
        return false;
    out->kind = (enum wanted_kind)kind;
    out->family = family == 6 ? AF_INET6 : AF_INET;
    out->is_udp = strcmp(protocol, "udp") == 0;
    if (strcmp(out->sysctl, "-") == 0)
        out->sysctl[0] = '\0';
    if (strcmp(source, "-") == 0)
        return true;
    if (addr_parse(&out->source, source))
        return false;
    /* A version that knew no ranges wrote no last port. */
    out->last_port = last_port == 0 ? addr_port(&out->source) : (uint16_t)last_port;
    return true;
}

int wanted_add_item(struct wanted *wanted, const struct wanted_item *item)
{
    struct wanted_item *items;

    if (wanted_has(wanted, item))
        return 0;
    items = reallocarray(wanted->items, wanted->n_items + 1, sizeof *items);
    if (!items)
        return -ENOMEM;
    items[wanted->n_items++] = *item;
    wanted->items = items;
    return 0;
}

void wanted_close(struct wanted *wanted)
{
    free(wanted->items);
    free(wanted->replies);
    *wanted = (struct wanted){ 0 };
}

static struct wanted_item sysctl_item(sa_family_t family, const char *name)
{
    struct wanted_item item = { .kind = WANTED_SYSCTL, .family = family };

    snprintf(item.sysctl, sizeof item.sysctl, "%s", name);
    return item;
}

void wanted_device_sysctl(const char *interface, const char *name, char out[WANTED_SYSCTL_MAX])
{
    char escaped[IF_NAMESIZE];
    size_t i;

    /* A VLAN's name has a dot in it: sysctl(8) writes that as '/'. */
    for (i = 0; i < sizeof escaped - 1 && interface[i]; i++)
        escaped[i] = interface[i] == '.' ? '/' : interface[i];
    escaped[i] = '\0';
    snprintf(out, WANTED_SYSCTL_MAX, "net.ipv4.conf.%s.%s", escaped, name);
}

void wanted_localnet_name(const char *interface, char out[WANTED_SYSCTL_MAX])
{
    wanted_device_sysctl(interface, "route_localnet", out);
}

static size_t sysctls_of(struct wanted_item *out, const struct listener_config *listener,
                         const struct addr *target, const struct wanted_host *host)
{
    enum return_path path = listener_config_return_path(listener, addr_family(target));
    char name[WANTED_SYSCTL_MAX];
    size_t n = 0;

    if (path == RETURN_PATH_FWMARK) {
        /* The name says ipv4, it holds for both families. */
        out[n++] = sysctl_item(AF_INET, "net.ipv4.tcp_fwmark_accept");
        out[n++] = addr_family(target) == AF_INET
                       ? sysctl_item(AF_INET, "net.ipv4.fwmark_reflect")
                       : sysctl_item(AF_INET6, "net.ipv6.fwmark_reflect");
    }
    if (path != RETURN_PATH_CONNMARK || addr_family(target) != AF_INET || !addr_is_loopback(target))
        return n;
    for (size_t i = 0; i < WANTED_OUTBOUND_MAX && host->outbound_v4[i][0] != '\0'; i++) {
        wanted_localnet_name(host->outbound_v4[i], name);
        out[n++] = sysctl_item(AF_INET, name);
    }
    return n;
}

/*
 * Packets of a service on loopback from its own address have no way to a client that a mark could
 * change: for IPv4 the kernel refuses it, as long as it has none but the default route.
 */
static bool needs_prefix_rule(const struct listener_config *listener, const struct addr *target)
{
    return listener_config_return_path(listener, addr_family(target)) == RETURN_PATH_FLOWS &&
           addr_is_loopback(target);
}

/* routed: the replies of the target's ports. returns: how many items. */
static size_t replies_of(struct wanted_item *out, const struct listener_config *listener,
                         const struct addr *target, uint32_t mark)
{
    struct port_list ports;

    listener_config_port_list(listener, addr_family(target), &ports);
    for (size_t i = 0; i < ports.n; i++) {
        out[i] = (struct wanted_item){ .kind = WANTED_MARK_REPLIES,
                                       .family = addr_family(target),
                                       .mark = mark,
                                       .source = *target,
                                       .last_port = ports.items[i].last,
                                       .is_udp = listener->protocol == PROTOCOL_UDP };
        addr_set_port(&out[i].source, ports.items[i].first);
    }
    return ports.n;
}

/* The items that a listener needs for its target of one family; returns their number. */
static size_t items_of(struct wanted_item out[PER_FAMILY_MAX],
                       const struct listener_config *listener, sa_family_t family,
                       const struct wanted_host *host)
{
    const struct addr *target = listener_config_target(listener, family);
    enum return_path path = listener_config_return_path(listener, family);
    uint32_t mark = path == RETURN_PATH_LOOPBACK ? 0 : listener->mark;
    struct wanted_item item = { .family = family };
    size_t n = 0;

    if (!target || (family == AF_INET6 && !host->has_ipv6))
        return 0;
    assert(path != RETURN_PATH_AUTO);
    item.mark = mark;
    if (path == RETURN_PATH_ROUTED)
        n = replies_of(out, listener, target, mark);
    if (path == RETURN_PATH_FLOWS) {
        item.kind = WANTED_MARK_FLOWS;
        item.timeout_s = (listener->idle_timeout_ms + 999) / 1000 + FLOWS_GRACE_S;
        out[n++] = item;
        item.timeout_s = 0;
    }
    if (path == RETURN_PATH_CONNMARK) {
        item.kind = WANTED_SAVE_MARK;
        out[n++] = item;
        item.kind = WANTED_RESTORE_MARK;
        out[n++] = item;
    }
    item.table = listener->table;
    item.kind = WANTED_RULE;
    out[n++] = item;
    item.mark = 0;
    if (needs_prefix_rule(listener, target))
        out[n++] = item;
    item.kind = WANTED_ROUTE;
    item.avoids_pacing = host->is_paced;
    out[n++] = item;
    n += sysctls_of(out + n, listener, target, host);
    assert(n <= PER_FAMILY_MAX);
    return n;
}

static bool has_reply(const struct wanted *wanted, const struct wanted_reply *reply)
{
    for (size_t i = 0; i < wanted->n_replies; i++) {
        const struct wanted_reply *other = &wanted->replies[i];

        if (other->mark == reply->mark && other->table == reply->table &&
            other->is_routed == reply->is_routed && other->is_udp == reply->is_udp &&
            addr_equal(&other->source, &reply->source))
            return true;
    }
    return false;
}

static int add_reply(struct wanted *wanted, const struct wanted_reply *reply)
{
    struct wanted_reply *replies;

    if (has_reply(wanted, reply))
        return 0;
    replies = reallocarray(wanted->replies, wanted->n_replies + 1, sizeof *replies);
    if (!replies)
        return -ENOMEM;
    replies[wanted->n_replies++] = *reply;
    wanted->replies = replies;
    return 0;
}

static struct addr any_address(const struct addr *target)
{
    static const uint8_t bytes[16];
    struct addr any;

    addr_from_bytes(&any, addr_family(target), bytes, addr_port(target));
    return any;
}

static int add_replies(struct wanted *wanted, const struct listener_config *listener,
                       sa_family_t family, const struct wanted_host *host)
{
    const struct addr *target = listener_config_target(listener, family);
    enum return_path path = listener_config_return_path(listener, family);
    struct wanted_reply reply = {
        .mark = path == RETURN_PATH_LOOPBACK ? 0 : listener->mark,
        .table = listener->table,
        .is_routed = path == RETURN_PATH_ROUTED,
        .is_udp = listener->protocol == PROTOCOL_UDP,
    };
    int err;

    if (!target || (family == AF_INET6 && !host->has_ipv6))
        return 0;
    reply.source = *target;
    if (!needs_prefix_rule(listener, target))
        return add_reply(wanted, &reply);
    /* Which address the service takes depends on what it is bound to. */
    reply.source = any_address(target);
    err = add_reply(wanted, &reply);
    reply.source = *target;
    reply.mark = 0;
    return err < 0 ? err : add_reply(wanted, &reply);
}

/* The original tells all rules of a firewall first, then the routing, then (ours) sysctls. */
static int order(enum wanted_kind kind)
{
    return kind <= WANTED_MARK_FLOWS ? 0 : kind == WANTED_SYSCTL ? 2 : 1;
}

static int add_listener(struct wanted *wanted, const struct listener_config *listener,
                        const struct wanted_host *host)
{
    struct wanted_item items[2 * PER_FAMILY_MAX];
    size_t n = items_of(items, listener, AF_INET, host);

    n += items_of(items + n, listener, AF_INET6, host);
    for (int step = 0; step <= 2; step++) {
        for (size_t i = 0; i < n; i++) {
            int err = order(items[i].kind) == step ? wanted_add_item(wanted, &items[i]) : 0;

            if (err < 0)
                return err;
        }
    }
    for (int is_v6 = 0; is_v6 <= 1; is_v6++) {
        int err = add_replies(wanted, listener, is_v6 ? AF_INET6 : AF_INET, host);

        if (err < 0)
            return err;
    }
    return 0;
}

int wanted_add(struct wanted *wanted, const struct config *config, const struct wanted_host *host)
{
    for (size_t i = 0; i < config->n_listeners; i++) {
        int err = add_listener(wanted, &config->listeners[i], host);

        if (err < 0)
            return err;
    }
    return 0;
}

bool wanted_is_for(const struct wanted_item *item, const struct listener_config *listener,
                   const struct wanted_host *host)
{
    struct wanted_item items[2 * PER_FAMILY_MAX];
    size_t n = items_of(items, listener, AF_INET, host);

    n += items_of(items + n, listener, AF_INET6, host);
    for (size_t i = 0; i < n; i++) {
        if (wanted_item_equal(&items[i], item))
            return true;
    }
    return false;
}

static const char *ip(const struct wanted_item *item)
{
    return item->family == AF_INET6 ? "ip -6" : "ip";
}

static const char *format_rule(const struct wanted_item *item, const char *verb, char *buf)
{
    if (item->mark != 0)
        snprintf(buf, WANTED_COMMAND_MAX, "%s rule %s fwmark %u lookup %u", ip(item), verb,
                 item->mark, item->table);
    else
        snprintf(buf, WANTED_COMMAND_MAX, "%s rule %s from %s iif lo lookup %u", ip(item), verb,
                 wanted_prefix(item->family), item->table);
    return buf;
}

static const char *format_route(const struct wanted_item *item, const char *verb, char *buf)
{
    snprintf(buf, WANTED_COMMAND_MAX, "%s route %s local %s dev lo table %u", ip(item), verb,
             item->family == AF_INET6 ? "::/0" : "0.0.0.0/0", item->table);
    return buf;
}

static const char *format_source(const struct wanted_item *item, char buf[INET6_ADDRSTRLEN])
{
    return inet_ntop(item->family, addr_bytes(&item->source), buf, INET6_ADDRSTRLEN);
}

/* "22" or "8000-8099". */
static const char *format_ports(const struct wanted_item *item, char buf[PORTS_TEXT_MAX])
{
    uint16_t first = addr_port(&item->source);

    if (item->last_port > first)
        (void)snprintf(buf, PORTS_TEXT_MAX, "%u-%u", first, item->last_port);
    else
        (void)snprintf(buf, PORTS_TEXT_MAX, "%u", first);
    return buf;
}

const char *wanted_nft_rule(const struct wanted_item *item, char buf[WANTED_COMMAND_MAX])
{
    char source[INET6_ADDRSTRLEN];
    char ports[PORTS_TEXT_MAX];

    snprintf(buf, WANTED_COMMAND_MAX,
             "%s saddr %s %s sport %s socket transparent 1 meta mark set %u",
             item->family == AF_INET6 ? "ip6" : "ip", format_source(item, source),
             protocol_of(item), format_ports(item, ports), item->mark);
    return buf;
}

/*
 * A table for each target, so that it can be taken down by name. It is not the table that mmproxy
 * makes itself, which is rewritten as a whole. A name can't have a colon in it.
 */
static const char *format_table(const struct wanted_item *item, char buf[TABLE_NAME_MAX])
{
    char source[INET6_ADDRSTRLEN];
    char ports[PORTS_TEXT_MAX];

    snprintf(buf, TABLE_NAME_MAX, "mmproxy-%s-%s-%s-mark-%u", format_source(item, source),
             protocol_of(item), format_ports(item, ports), item->mark);
    for (char *at = buf; (at = strchr(at, ':'));)
        *at = '_';
    return buf;
}

static const char *format_nft(const struct wanted_item *item, bool is_undo, char *buf)
{
    char rule[WANTED_COMMAND_MAX];
    char table[TABLE_NAME_MAX];

    format_table(item, table);
    if (is_undo)
        snprintf(buf, WANTED_COMMAND_MAX, "nft delete table inet %s", table);
    else
        snprintf(buf, WANTED_COMMAND_MAX,
                 "nft 'table inet %s { chain prerouting { type filter hook prerouting priority "
                 "mangle; %.130s; }; }'",
                 table, wanted_nft_rule(item, rule));
    return buf;
}

/* A table for each set. */
static const char *format_flows(const struct wanted_item *item, bool is_undo, char *buf)
{
    char table[TABLE_NAME_MAX];
    char set[FLOWS_SET_MAX];
    char definition[FLOWS_TEXT_MAX];
    char record[FLOWS_TEXT_MAX];
    char mark[FLOWS_TEXT_MAX];

    snprintf(table, sizeof table, "mmproxy-%s", flows_set(item, set));
    if (is_undo)
        snprintf(buf, WANTED_COMMAND_MAX, "nft delete table inet %s", table);
    else
        snprintf(buf, WANTED_COMMAND_MAX,
                 "nft 'table inet %s { set %s { %s }; chain record { %s; %s; }; "
                 "chain output { type route hook output priority mangle; %s; }; }'",
                 table, set, flows_definition(item, definition), FLOWS_RECORD_HOOK,
                 flows_record_rule(item, record), flows_mark_rule(item, mark));
    return buf;
}

static const char *format_xtables(const struct wanted_item *item, const char *verb, char *buf)
{
    bool save = item->kind == WANTED_SAVE_MARK;

    snprintf(buf, WANTED_COMMAND_MAX,
             "%s -t mangle %s %s -m %s --mark %u -m comment --comment mmproxy "
             "-j CONNMARK --%s-mark",
             item->family == AF_INET6 ? "ip6tables" : "iptables", verb,
             save ? "PREROUTING" : "OUTPUT", save ? "mark" : "connmark", item->mark,
             save ? "save" : "restore");
    return buf;
}

const char *wanted_sysctl_command(const char *name, int value, char buf[WANTED_COMMAND_MAX])
{
    char quoted[SHELL_QUOTED_MAX(WANTED_SYSCTL_MAX)];

    snprintf(buf, WANTED_COMMAND_MAX, "sysctl -w %s=%d", shell_quote(name, quoted, sizeof quoted),
             value);
    return buf;
}

const char *wanted_command(const struct wanted_item *item, char buf[WANTED_COMMAND_MAX])
{
    size_t len;

    switch (item->kind) {
    case WANTED_SAVE_MARK:
    case WANTED_RESTORE_MARK:
        return format_xtables(item, "-I", buf);
    case WANTED_MARK_REPLIES:
        return format_nft(item, false, buf);
    case WANTED_MARK_FLOWS:
        return format_flows(item, false, buf);
    case WANTED_RULE:
        return format_rule(item, "add", buf);
    case WANTED_ROUTE:
        len = strlen(format_route(item, "add", buf));
        if (item->avoids_pacing)
            (void)snprintf(buf + len, WANTED_COMMAND_MAX - len, " congctl " CONGESTION_UNPACED);
        return buf;
    case WANTED_SYSCTL:
        break;
    }
    return wanted_sysctl_command(item->sysctl, 1, buf);
}

const char *wanted_undo(const struct wanted_item *item, char buf[WANTED_COMMAND_MAX])
{
    switch (item->kind) {
    case WANTED_SAVE_MARK:
    case WANTED_RESTORE_MARK:
        return format_xtables(item, "-D", buf);
    case WANTED_MARK_REPLIES:
        return format_nft(item, true, buf);
    case WANTED_MARK_FLOWS:
        return format_flows(item, true, buf);
    case WANTED_RULE:
        return format_rule(item, "del", buf);
    case WANTED_ROUTE:
        return format_route(item, "del", buf);
    case WANTED_SYSCTL:
        break;
    }
    /* The earlier value is not known here; 0 is the kernel's default for all of them. */
    return wanted_sysctl_command(item->sysctl, 0, buf);
}
