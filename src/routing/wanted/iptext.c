/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/iptext.h"

#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mmproxy/base/shell.h"

/* Text that is put together piece by piece; what has no room is left out. */
struct text {
    char *at;
    size_t left;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *text, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text->at, text->left, format, args);
    va_end(args);
    if (n < 0)
        return;
    if ((size_t)n >= text->left)
        n = (int)text->left - 1;
    text->at += n;
    text->left -= (size_t)n;
}

const char *iptext_prefix(sa_family_t family, const struct region_prefix *prefix,
                          char buf[IPTEXT_PREFIX_MAX])
{
    char host[INET6_ADDRSTRLEN] = "";

    inet_ntop(family, prefix->bits, host, sizeof host);
    if (prefix->len == (family == AF_INET6 ? 128 : 32))
        snprintf(buf, IPTEXT_PREFIX_MAX, "%s", host);
    else
        snprintf(buf, IPTEXT_PREFIX_MAX, "%s/%u", host, prefix->len);
    return buf;
}

static void put_prefix(struct text *text, const char *word, sa_family_t family,
                       const uint8_t *bytes, unsigned len)
{
    struct region_prefix prefix = { .len = (uint8_t)len };
    char buf[IPTEXT_PREFIX_MAX];

    memcpy(prefix.bits, bytes, sizeof prefix.bits);
    put(text, "%s%s", word, iptext_prefix(family, &prefix, buf));
}

static void put_range(struct text *text, const char *word, uint32_t first, uint32_t last)
{
    put(text, " %s %u", word, first);
    if (first != last)
        put(text, "-%u", last);
}

static void put_interface(struct text *text, const char *word, const char *name)
{
    char quoted[SHELL_QUOTED_MAX(IF_NAMESIZE)];

    if (name[0] != '\0')
        put(text, " %s %s", word, shell_quote(name, quoted, sizeof quoted));
}

static void put_mark(struct text *text, const struct rtnl_rule *rule)
{
    if (rule->mask != 0)
        put(text, " fwmark 0x%x", rule->mark);
    if (rule->mask != 0 && rule->mask != UINT32_MAX)
        put(text, "/0x%x", rule->mask);
}

static void put_ports(struct text *text, const struct rtnl_rule *rule)
{
    if (rule->ip_protocol == IPPROTO_TCP)
        put(text, " ipproto tcp");
    else if (rule->ip_protocol == IPPROTO_UDP)
        put(text, " ipproto udp");
    else if (rule->ip_protocol != 0)
        put(text, " ipproto %u", rule->ip_protocol);
    if (rule->last_sport != 0)
        put_range(text, "sport", rule->first_sport, rule->last_sport);
    if (rule->last_dport != 0)
        put_range(text, "dport", rule->first_dport, rule->last_dport);
}

static void put_selectors(struct text *text, const struct rtnl_rule *rule)
{
    put(text, "%sfrom ", rule->invert ? "not " : "");
    if (rule->src_len != 0)
        put_prefix(text, "", rule->family, rule->src, rule->src_len);
    else
        put(text, "all");
    if (rule->dst_len != 0)
        put_prefix(text, " to ", rule->family, rule->dst, rule->dst_len);
    if (rule->tos != 0)
        put(text, " tos 0x%x", rule->tos);
    put_mark(text, rule);
    put_interface(text, "iif", rule->iif);
    put_interface(text, "oif", rule->oif);
    if (rule->has_uids)
        put(text, " uidrange %u-%u", rule->first_uid, rule->last_uid);
    put_ports(text, rule);
}

static void put_action(struct text *text, const struct rtnl_rule *rule)
{
    switch (rule->action) {
    case FR_ACT_TO_TBL:
        if (rule->is_l3mdev)
            put(text, " lookup [l3mdev-table]");
        else
            put(text, " lookup %u", rule->table);
        break;
    case FR_ACT_GOTO:
        put(text, " goto %u", rule->goto_priority);
        break;
    case FR_ACT_BLACKHOLE:
        put(text, " blackhole");
        break;
    case FR_ACT_UNREACHABLE:
        put(text, " unreachable");
        break;
    case FR_ACT_PROHIBIT:
        put(text, " prohibit");
        break;
    default:
        put(text, " nop");
        break;
    }
    if (rule->suppress_len >= 0)
        put(text, " suppress_prefixlength %d", rule->suppress_len);
    if (rule->suppress_group >= 0)
        put(text, " suppress_ifgroup %d", rule->suppress_group);
}

const char *iptext_rule(const struct rtnl_rule *rule, char buf[IPTEXT_RULE_MAX])
{
    struct text text = { buf, IPTEXT_RULE_MAX };

    put_selectors(&text, rule);
    put_action(&text, rule);
    return buf;
}

static const char *type_name(uint8_t type)
{
    switch (type) {
    case RTN_LOCAL:
        return "local ";
    case RTN_BLACKHOLE:
        return "blackhole ";
    case RTN_UNREACHABLE:
        return "unreachable ";
    case RTN_PROHIBIT:
        return "prohibit ";
    case RTN_THROW:
        return "throw ";
    default:
        return "";
    }
}

const char *iptext_route(const struct rtnl_route *route, char buf[IPTEXT_ROUTE_MAX])
{
    struct text text = { buf, IPTEXT_ROUTE_MAX };
    char gateway[INET6_ADDRSTRLEN] = "";
    char name[IF_NAMESIZE] = "";

    put(&text, "%s", type_name(route->type));
    if (route->dst_len != 0)
        put_prefix(&text, "", route->family, route->dst, route->dst_len);
    else
        put(&text, "default");
    if (route->has_gateway) {
        inet_ntop(route->gateway_family, route->gateway, gateway, sizeof gateway);
        put(&text, " via %s%s", route->gateway_family != route->family ? "inet6 " : "", gateway);
    }
    if (route->oif != 0 && if_indextoname(route->oif, name))
        put_interface(&text, "dev", name);
    put(&text, " table %u", route->table);
    if (route->metric != 0)
        put(&text, " metric %u", route->metric);
    return buf;
}
