/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/rtnlmsg.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>

/* Selectors of rules that Linux has got since 6.1, and its header has not. */
enum {
    ATTRIBUTE_DSCP = 25,
    ATTRIBUTE_FLOWLABEL,
    ATTRIBUTE_FLOWLABEL_MASK,
    ATTRIBUTE_SPORT_MASK,
    ATTRIBUTE_DPORT_MASK,
    ATTRIBUTE_DSCP_MASK,
};

/* libmnl's own check takes the length for a signed number, so it trusts a huge one. */
const struct nlmsghdr *rtnlmsg_take(const void **bytes, size_t *len)
{
    const struct nlmsghdr *msg = *bytes;
    size_t step;

    if (*len < sizeof *msg || msg->nlmsg_len < sizeof *msg || msg->nlmsg_len > *len)
        return NULL;
    step = ((size_t)msg->nlmsg_len + 3) & ~(size_t)3;
    if (step > *len)
        step = *len;
    *bytes = (const char *)*bytes + step;
    *len -= step;
    return msg;
}

static unsigned address_len(sa_family_t family)
{
    return family == AF_INET6 ? 16 : 4;
}

static bool read_u32(const struct nlattr *attr, uint32_t *out)
{
    if (mnl_attr_validate(attr, MNL_TYPE_U32) < 0)
        return false;
    *out = mnl_attr_get_u32(attr);
    return true;
}

static bool read_u8(const struct nlattr *attr, uint8_t *out)
{
    if (mnl_attr_validate(attr, MNL_TYPE_U8) < 0)
        return false;
    *out = mnl_attr_get_u8(attr);
    return true;
}

static bool read_address(const struct nlattr *attr, sa_family_t family, uint8_t out[16])
{
    unsigned len = address_len(family);

    if (mnl_attr_get_payload_len(attr) < len)
        return false;
    memcpy(out, mnl_attr_get_payload(attr), len);
    return true;
}

static bool read_name(const struct nlattr *attr, char out[IF_NAMESIZE])
{
    size_t len = strnlen(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));

    if (len >= IF_NAMESIZE)
        return false;
    memcpy(out, mnl_attr_get_payload(attr), len);
    out[len] = '\0';
    return true;
}

/* Both ranges are two numbers, of 16 or of 32 bits, in the machine's byte order. */
static bool read_ports(const struct nlattr *attr, uint16_t *first, uint16_t *last)
{
    struct fib_rule_port_range range;

    if (mnl_attr_get_payload_len(attr) < sizeof range)
        return false;
    memcpy(&range, mnl_attr_get_payload(attr), sizeof range);
    *first = range.start;
    *last = range.end;
    return true;
}

static bool read_uids(const struct nlattr *attr, struct rtnl_rule *out)
{
    struct fib_rule_uid_range range;

    if (mnl_attr_get_payload_len(attr) < sizeof range)
        return false;
    memcpy(&range, mnl_attr_get_payload(attr), sizeof range);
    out->has_uids = true;
    out->first_uid = range.start;
    out->last_uid = range.end;
    return true;
}

/* The kernel tells one for every single port: all its bits count then. */
static bool read_port_mask(const struct nlattr *attr, struct rtnl_rule *out)
{
    if (mnl_attr_validate(attr, MNL_TYPE_U16) < 0)
        return false;
    out->special |= mnl_attr_get_u16(attr) != UINT16_MAX;
    return true;
}

static bool read_i32(const struct nlattr *attr, int32_t *out)
{
    uint32_t value;

    if (!read_u32(attr, &value))
        return false;
    *out = (int32_t)value;
    return true;
}

static bool rule_selector(const struct nlattr *attr, struct rtnl_rule *out)
{
    switch (mnl_attr_get_type(attr)) {
    case FRA_GOTO:
        return read_u32(attr, &out->goto_priority);
    case FRA_SUPPRESS_PREFIXLEN:
        return read_i32(attr, &out->suppress_len);
    case FRA_SUPPRESS_IFGROUP:
        return read_i32(attr, &out->suppress_group);
    case FRA_UID_RANGE:
        return read_uids(attr, out);
    case FRA_SPORT_RANGE:
        return read_ports(attr, &out->first_sport, &out->last_sport);
    case FRA_DPORT_RANGE:
        return read_ports(attr, &out->first_dport, &out->last_dport);
    case FRA_TUN_ID:
        out->is_tunnel = true;
        return true;
    case FRA_L3MDEV:
        out->is_l3mdev = true;
        return true;
    case ATTRIBUTE_SPORT_MASK:
    case ATTRIBUTE_DPORT_MASK:
        return read_port_mask(attr, out);
    case ATTRIBUTE_DSCP:
    case ATTRIBUTE_FLOWLABEL:
    case ATTRIBUTE_FLOWLABEL_MASK:
    case ATTRIBUTE_DSCP_MASK:
        out->special = true;
        return true;
    default:
        return true;
    }
}

static bool rule_attribute(const struct nlattr *attr, void *context)
{
    struct rtnl_rule *out = context;

    switch (mnl_attr_get_type(attr)) {
    case FRA_PRIORITY:
        return read_u32(attr, &out->priority);
    case FRA_TABLE:
        return read_u32(attr, &out->table);
    case FRA_FWMARK:
        /* The kernel tells a mask whenever there is a mark; without one every bit counts. */
        if (out->mask == 0)
            out->mask = UINT32_MAX;
        return read_u32(attr, &out->mark);
    case FRA_FWMASK:
        return read_u32(attr, &out->mask);
    case FRA_SRC:
        return read_address(attr, out->family, out->src);
    case FRA_DST:
        return read_address(attr, out->family, out->dst);
    case FRA_IIFNAME:
        return read_name(attr, out->iif);
    case FRA_OIFNAME:
        return read_name(attr, out->oif);
    case FRA_PROTOCOL:
        return read_u8(attr, &out->protocol);
    case FRA_IP_PROTO:
        return read_u8(attr, &out->ip_protocol);
    default:
        return rule_selector(attr, out);
    }
}

typedef bool attribute_reader(const struct nlattr *attr, void *out);

/*
 * Hands every attribute to read; false where one is not whole or not liked. libmnl's own loops end
 * silently at a truncated attribute.
 */
static bool read_all(const char *bytes, size_t len, attribute_reader *read, void *out)
{
    size_t at = 0;

    while (at < len) {
        const struct nlattr *attr = (const void *)(bytes + at);

        if (len - at < sizeof *attr || attr->nla_len < sizeof *attr || attr->nla_len > len - at)
            return false;
        if (!read(attr, out))
            return false;
        at += (attr->nla_len + 3U) & ~3U;
    }
    return true;
}

/* Those behind the header: every header is a multiple of 4 long, as attributes want it. */
static bool read_attributes(const struct nlmsghdr *msg, size_t header_len, attribute_reader *read,
                            void *out)
{
    const char *bytes = mnl_nlmsg_get_payload(msg);

    return read_all(bytes + header_len, mnl_nlmsg_get_payload_len(msg) - header_len, read, out);
}

static bool has_header(const struct nlmsghdr *msg, size_t header_len)
{
    return mnl_nlmsg_get_payload_len(msg) >= header_len;
}

bool rtnlmsg_rule(const struct nlmsghdr *msg, struct rtnl_rule *out)
{
    const struct fib_rule_hdr *header = mnl_nlmsg_get_payload(msg);

    if ((msg->nlmsg_type != RTM_NEWRULE && msg->nlmsg_type != RTM_DELRULE) ||
        !has_header(msg, sizeof *header))
        return false;
    if ((header->family != AF_INET && header->family != AF_INET6) ||
        header->src_len > 8 * address_len(header->family) ||
        header->dst_len > 8 * address_len(header->family))
        return false;
    *out = (struct rtnl_rule){
        .family = header->family,
        .action = header->action,
        .invert = header->flags & FIB_RULE_INVERT,
        .unresolved = header->flags & FIB_RULE_UNRESOLVED,
        .tos = header->tos,
        .table = header->table,
        .src_len = header->src_len,
        .dst_len = header->dst_len,
        .suppress_group = -1,
        .suppress_len = -1,
    };
    return read_attributes(msg, sizeof *header, rule_attribute, out);
}

static bool route_attribute(const struct nlattr *attr, void *context)
{
    struct rtnl_route *out = context;
    const struct rtvia *via;

    switch (mnl_attr_get_type(attr)) {
    case RTA_TABLE:
        return read_u32(attr, &out->table);
    case RTA_OIF:
        return read_u32(attr, &out->oif);
    case RTA_PRIORITY:
        return read_u32(attr, &out->metric);
    case RTA_DST:
        return read_address(attr, out->family, out->dst);
    case RTA_GATEWAY:
        out->has_gateway = true;
        out->gateway_family = out->family;
        return read_address(attr, out->family, out->gateway);
    case RTA_VIA:
        via = mnl_attr_get_payload(attr);
        if (mnl_attr_get_payload_len(attr) < sizeof *via + 16 || via->rtvia_family != AF_INET6)
            return false;
        out->has_gateway = true;
        out->gateway_family = AF_INET6;
        memcpy(out->gateway, via->rtvia_addr, 16);
        return true;
    default:
        return true;
    }
}

bool rtnlmsg_route(const struct nlmsghdr *msg, struct rtnl_route *out)
{
    const struct rtmsg *header = mnl_nlmsg_get_payload(msg);

    if ((msg->nlmsg_type != RTM_NEWROUTE && msg->nlmsg_type != RTM_DELROUTE) ||
        !has_header(msg, sizeof *header))
        return false;
    if ((header->rtm_family != AF_INET && header->rtm_family != AF_INET6) ||
        header->rtm_dst_len > 8 * address_len(header->rtm_family))
        return false;
    *out = (struct rtnl_route){
        .family = header->rtm_family,
        .type = header->rtm_type,
        .protocol = header->rtm_protocol,
        .tos = header->rtm_tos,
        .dst_len = header->rtm_dst_len,
        .table = header->rtm_table,
    };
    return read_attributes(msg, sizeof *header, route_attribute, out);
}

struct address_attributes {
    struct rtnl_address *out;
    bool has_local;
    bool has_address;
};

static bool address_attribute(const struct nlattr *attr, void *context)
{
    struct address_attributes *found = context;
    struct rtnl_address *out = found->out;

    switch (mnl_attr_get_type(attr)) {
    case IFA_LOCAL:
        found->has_local = true;
        return read_address(attr, out->family, out->address);
    case IFA_ADDRESS: /* the peer's, where there is a local one too */
        found->has_address = true;
        return found->has_local || read_address(attr, out->family, out->address);
    case IFA_BROADCAST:
        out->has_broadcast = true;
        return read_address(attr, out->family, out->broadcast);
    default:
        return true;
    }
}

bool rtnlmsg_address(const struct nlmsghdr *msg, struct rtnl_address *out)
{
    const struct ifaddrmsg *header = mnl_nlmsg_get_payload(msg);
    struct address_attributes found = { .out = out };

    if ((msg->nlmsg_type != RTM_NEWADDR && msg->nlmsg_type != RTM_DELADDR) ||
        !has_header(msg, sizeof *header) ||
        (header->ifa_family != AF_INET && header->ifa_family != AF_INET6))
        return false;
    if (header->ifa_prefixlen > 8 * address_len(header->ifa_family))
        return false;
    *out = (struct rtnl_address){ .family = header->ifa_family,
                                  .interface = header->ifa_index,
                                  .len = header->ifa_prefixlen };
    return read_attributes(msg, sizeof *header, address_attribute, &found) &&
           (found.has_local || found.has_address);
}

static bool is_text(const struct nlattr *attr, const char *text)
{
    size_t len = strlen(text) + 1;

    return mnl_attr_get_payload_len(attr) == len &&
           memcmp(mnl_attr_get_payload(attr), text, len) == 0;
}

static bool kind_attribute(const struct nlattr *attr, void *context)
{
    struct rtnl_link *out = context;

    if (mnl_attr_get_type(attr) == IFLA_INFO_KIND) {
        out->is_bridge = is_text(attr, "bridge");
        out->is_veth = is_text(attr, "veth");
    }
    return true;
}

static bool link_attribute(const struct nlattr *attr, void *context)
{
    struct rtnl_link *out = context;

    switch (mnl_attr_get_type(attr)) {
    case IFLA_MASTER:
        return read_u32(attr, &out->master);
    case IFLA_LINKINFO:
        return read_all(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr), kind_attribute,
                        out);
    default:
        return true;
    }
}

bool rtnlmsg_link(const struct nlmsghdr *msg, struct rtnl_link *out)
{
    const struct ifinfomsg *header = mnl_nlmsg_get_payload(msg);

    if ((msg->nlmsg_type != RTM_NEWLINK && msg->nlmsg_type != RTM_DELLINK) ||
        !has_header(msg, sizeof *header))
        return false;
    *out = (struct rtnl_link){ .index = (uint32_t)header->ifi_index };
    return read_attributes(msg, sizeof *header, link_attribute, out);
}
