/* SPDX-License-Identifier: BSD-2-Clause */
#include "routing_support.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include "mmproxy/net/rtnlmsg.h"

enum { MESSAGE_MAX = 512 };

/* A message under construction; the bytes are those the kernel sends. */
struct message {
    _Alignas(struct nlmsghdr) char bytes[MESSAGE_MAX];
    struct nlmsghdr *header;
};

static void begin(struct message *message, uint16_t type, const void *extra, size_t len)
{
    memset(message->bytes, 0, sizeof(message->bytes));
    message->header = mnl_nlmsg_put_header(message->bytes);
    message->header->nlmsg_type = type;
    memcpy(mnl_nlmsg_put_extra_header(message->header, len), extra, len);
}

/* `ip -6 rule add not from fd00::/8 iif lo fwmark 0x7b/0xff lookup 1000 pref 5 protocol 77` */
static void a_whole_rule(struct message *message)
{
    struct fib_rule_hdr header = { .family = AF_INET6,
                                   .src_len = 8,
                                   .table = RT_TABLE_COMPAT,
                                   .action = FR_ACT_TO_TBL,
                                   .flags = FIB_RULE_INVERT };
    uint8_t prefix[16] = { 0xfd };

    begin(message, RTM_NEWRULE, &header, sizeof(header));
    mnl_attr_put_u32(message->header, FRA_TABLE, 1000);
    mnl_attr_put_u32(message->header, FRA_SUPPRESS_PREFIXLEN, UINT32_MAX);
    mnl_attr_put_u8(message->header, FRA_PROTOCOL, 77);
    mnl_attr_put_strz(message->header, FRA_IIFNAME, "lo");
    mnl_attr_put_u32(message->header, FRA_PRIORITY, 5);
    mnl_attr_put_u32(message->header, FRA_FWMARK, 0x7b);
    mnl_attr_put_u32(message->header, FRA_FWMASK, 0xff);
    mnl_attr_put(message->header, FRA_SRC, sizeof(prefix), prefix);
}

static void a_whole_route(struct message *message)
{
    struct rtmsg header = { .rtm_family = AF_INET,
                            .rtm_dst_len = 24,
                            .rtm_table = RT_TABLE_MAIN,
                            .rtm_protocol = 4,
                            .rtm_type = RTN_UNICAST };
    uint8_t dst[4] = { 198, 51, 100, 0 };
    uint8_t gateway[4] = { 10, 0, 0, 1 };

    begin(message, RTM_NEWROUTE, &header, sizeof(header));
    mnl_attr_put_u32(message->header, RTA_TABLE, 254);
    mnl_attr_put(message->header, RTA_DST, sizeof(dst), dst);
    mnl_attr_put_u32(message->header, RTA_PRIORITY, 100);
    mnl_attr_put(message->header, RTA_GATEWAY, sizeof(gateway), gateway);
    mnl_attr_put_u32(message->header, RTA_OIF, 2);
}

static void a_rule_is_read_with_all_its_selectors(void **state)
{
    struct message message;
    struct rtnl_rule rule;

    (void)state;
    a_whole_rule(&message);
    assert_true(rtnlmsg_rule(message.header, &rule));
    assert_int_equal(rule.family, AF_INET6);
    assert_true(rule.invert);
    assert_false(rule.special);
    assert_int_equal(rule.table, 1000);
    assert_int_equal(rule.priority, 5);
    assert_int_equal(rule.protocol, 77);
    assert_int_equal(rule.mark, 0x7b);
    assert_int_equal(rule.mask, 0xff);
    assert_int_equal(rule.src_len, 8);
    assert_int_equal(rule.src[0], 0xfd);
    assert_int_equal(rule.suppress_len, -1);
    assert_string_equal(rule.iif, "lo");
    assert_string_equal(rule.oif, "");
}

static void a_mark_without_a_mask_counts_in_every_bit(void **state)
{
    struct fib_rule_hdr header = { .family = AF_INET, .action = FR_ACT_TO_TBL, .table = 100 };
    struct message message;
    struct rtnl_rule rule;

    (void)state;
    begin(&message, RTM_NEWRULE, &header, sizeof(header));
    mnl_attr_put_u32(message.header, FRA_FWMARK, 123);
    assert_true(rtnlmsg_rule(message.header, &rule));
    assert_int_equal(rule.mask, UINT32_MAX);
    assert_int_equal(rule.table, 100); /* from the header, as old kernels tell small ones */
}

static void ranges_are_read(void **state)
{
    struct fib_rule_hdr header = { .family = AF_INET, .action = FR_ACT_GOTO, .tos = 0x10 };
    struct fib_rule_port_range sport = { 22, 23 };
    struct fib_rule_port_range dport = { 443, 443 };
    struct fib_rule_uid_range uids = { 1000, 1999 };
    struct message message;
    struct rtnl_rule rule;

    (void)state;
    begin(&message, RTM_NEWRULE, &header, sizeof(header));
    mnl_attr_put(message.header, FRA_SPORT_RANGE, sizeof(sport), &sport);
    mnl_attr_put(message.header, FRA_DPORT_RANGE, sizeof(dport), &dport);
    mnl_attr_put_u16(message.header, 28, UINT16_MAX); /* FRA_SPORT_MASK: all bits */
    mnl_attr_put(message.header, FRA_UID_RANGE, sizeof(uids), &uids);
    mnl_attr_put_u32(message.header, FRA_GOTO, 500);
    assert_true(rtnlmsg_rule(message.header, &rule));
    assert_false(rule.special);
    assert_int_equal(rule.tos, 0x10);
    assert_int_equal(rule.goto_priority, 500);
    assert_int_equal(rule.first_sport, 22);
    assert_int_equal(rule.last_sport, 23);
    assert_int_equal(rule.first_dport, 443);
    assert_true(rule.has_uids);
    assert_int_equal(rule.first_uid, 1000);
    assert_int_equal(rule.last_uid, 1999);
    assert_int_equal(rule.suppress_group, -1);
}

/* Those that Linux has got since 6.1: DSCP, flow label, masks of ports. */
static void selectors_that_are_not_known_make_it_special(void **state)
{
    struct fib_rule_hdr header = { .family = AF_INET, .action = FR_ACT_TO_TBL };
    struct message message;
    struct rtnl_rule rule;

    (void)state;
    for (uint16_t kind = 25; kind <= 30; kind++) {
        begin(&message, RTM_NEWRULE, &header, sizeof(header));
        mnl_attr_put_u16(message.header, kind, 0);
        assert_true(rtnlmsg_rule(message.header, &rule));
        assert_true(rule.special);
    }
}

static void a_route_is_read_with_gateway_and_metric(void **state)
{
    struct message message;
    struct rtnl_route route;

    (void)state;
    a_whole_route(&message);
    assert_true(rtnlmsg_route(message.header, &route));
    assert_int_equal(route.family, AF_INET);
    assert_int_equal(route.type, RTN_UNICAST);
    assert_int_equal(route.table, 254);
    assert_int_equal(route.dst_len, 24);
    assert_int_equal(route.dst[2], 100);
    assert_int_equal(route.metric, 100);
    assert_int_equal(route.oif, 2);
    assert_true(route.has_gateway);
    assert_int_equal(route.gateway[3], 1);
}

/* `ip addr add 10.0.0.1 peer 10.0.0.2/32 dev tun0` and `ip addr add 10.0.0.1/24 brd + dev eth0` */
static void an_address_is_read_with_its_broadcast(void **state)
{
    struct ifaddrmsg header = { .ifa_family = AF_INET, .ifa_prefixlen = 24 };
    uint8_t own[4] = { 10, 0, 0, 1 };
    uint8_t peer[4] = { 10, 0, 0, 2 };
    uint8_t broadcast[4] = { 10, 0, 0, 255 };
    struct rtnl_address address;
    struct message message;

    (void)state;
    begin(&message, RTM_NEWADDR, &header, sizeof(header));
    mnl_attr_put(message.header, IFA_ADDRESS, 4, peer);
    mnl_attr_put(message.header, IFA_LOCAL, 4, own);
    assert_true(rtnlmsg_address(message.header, &address));
    assert_memory_equal(address.address, own, 4);
    assert_false(address.has_broadcast);
    begin(&message, RTM_DELADDR, &header, sizeof(header));
    mnl_attr_put(message.header, IFA_LOCAL, 4, own);
    mnl_attr_put(message.header, IFA_ADDRESS, 4, peer);
    mnl_attr_put(message.header, IFA_BROADCAST, 4, broadcast);
    assert_true(rtnlmsg_address(message.header, &address));
    assert_memory_equal(address.address, own, 4);
    assert_true(address.has_broadcast);
    assert_memory_equal(address.broadcast, broadcast, 4);
}

static void an_address_that_is_none_is_refused(void **state)
{
    struct ifaddrmsg header = { .ifa_family = AF_INET6 };
    struct rtnl_address address;
    struct message message;

    (void)state;
    begin(&message, RTM_NEWADDR, &header, sizeof(header));
    assert_false(rtnlmsg_address(message.header, &address)); /* no address in it */
    mnl_attr_put_u32(message.header, IFA_ADDRESS, 0);
    assert_false(rtnlmsg_address(message.header, &address)); /* too short for IPv6 */
    header.ifa_family = AF_UNSPEC;
    begin(&message, RTM_NEWADDR, &header, sizeof(header));
    assert_false(rtnlmsg_address(message.header, &address));
    a_whole_route(&message);
    assert_false(rtnlmsg_address(message.header, &address));
}

/* `ip link add NAME master 7 type KIND` */
static void a_link(struct message *message, const char *kind)
{
    struct ifinfomsg header = { .ifi_index = 5 };

    begin(message, RTM_NEWLINK, &header, sizeof(header));
    mnl_attr_put_u32(message->header, IFLA_MTU, 1500);
    struct nlattr *info = mnl_attr_nest_start(message->header, IFLA_LINKINFO);
    mnl_attr_put_strz(message->header, IFLA_INFO_KIND, kind);
    mnl_attr_nest_end(message->header, info);
    mnl_attr_put_u32(message->header, IFLA_MASTER, 7);
}

static void an_interface_is_read_with_its_kind_and_its_bridge(void **state)
{
    static const char *const kinds[] = { "bridge", "veth", "bridge_slave", "vet", "" };
    struct message message;
    struct rtnl_link link;

    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        a_link(&message, kinds[i]);
        assert_true(rtnlmsg_link(message.header, &link));
        assert_int_equal(link.index, 5);
        assert_int_equal(link.master, 7);
        assert_int_equal(link.is_bridge, i == 0);
        assert_int_equal(link.is_veth, i == 1);
    }
    a_whole_route(&message);
    assert_false(rtnlmsg_link(message.header, &link));
}

static void an_interface_whose_kind_is_cut_off_is_refused(void **state)
{
    struct message message;
    struct rtnl_link link;

    (void)state;
    a_link(&message, "veth");
    struct nlattr *info = (void *)(message.bytes + sizeof(struct nlmsghdr) +
                                   sizeof(struct ifinfomsg) + 8); /* behind the MTU */
    assert_int_equal(mnl_attr_get_type(info), IFLA_LINKINFO);
    ((struct nlattr *)mnl_attr_get_payload(info))->nla_len++;
    assert_true(rtnlmsg_link(message.header, &link)); /* into the padding */
    assert_false(link.is_veth);
    ((struct nlattr *)mnl_attr_get_payload(info))->nla_len += 3;
    assert_false(rtnlmsg_link(message.header, &link));
}

/* Copied to the end of a heap block, so that a sanitizer sees any byte read beyond. */
static bool parse_prefix(const struct message *message, size_t len, bool is_rule)
{
    char *copy = malloc(len);
    struct rtnl_rule rule;
    struct rtnl_route route;
    bool ok;

    memcpy(copy, message->bytes, len);
    ((struct nlmsghdr *)(void *)copy)->nlmsg_len = (uint32_t)len;
    ok = is_rule ? rtnlmsg_rule((void *)copy, &rule) : rtnlmsg_route((void *)copy, &route);
    free(copy);
    return ok;
}

/* Is len a place where the header or an attribute ends, or within the padding behind one? */
static bool is_boundary(const struct message *message, size_t header_len, size_t len)
{
    size_t at = sizeof(struct nlmsghdr) + header_len;

    while (at < len) {
        const struct nlattr *attr = (const void *)(message->bytes + at);

        size_t end = at + attr->nla_len;

        at += (attr->nla_len + 3U) & ~3U;
        if (end <= len && len <= at)
            return true;
    }
    return at == len;
}

static void a_truncated_message_is_refused_at_every_length(void **state)
{
    struct message message;

    (void)state;
    a_whole_rule(&message);
    for (size_t len = sizeof(struct nlmsghdr); len < message.header->nlmsg_len; len++)
        assert_int_equal(parse_prefix(&message, len, true),
                         is_boundary(&message, sizeof(struct fib_rule_hdr), len));
    a_whole_route(&message);
    for (size_t len = sizeof(struct nlmsghdr); len < message.header->nlmsg_len; len++)
        assert_int_equal(parse_prefix(&message, len, false),
                         is_boundary(&message, sizeof(struct rtmsg), len));
}

static void a_length_beyond_the_bytes_ends_the_walk(void **state)
{
    static const uint32_t lengths[] = {
        0, 15, 513, 0x7fffffff, 0x80000000, 0xfb00095c, 0xffffffff
    };
    struct message message;

    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        const void *at = message.bytes;
        size_t left = sizeof(message.bytes);

        a_whole_rule(&message);
        message.header->nlmsg_len = lengths[i];
        assert_null(rtnlmsg_take(&at, &left));
    }
}

static void messages_are_taken_one_after_the_other(void **state)
{
    struct message message;
    const void *at = message.bytes;
    size_t left;

    (void)state;
    a_whole_route(&message);
    left = message.header->nlmsg_len;
    memcpy(message.bytes + left, message.bytes, left);
    left *= 2;
    assert_ptr_equal(rtnlmsg_take(&at, &left), message.bytes);
    assert_ptr_equal(rtnlmsg_take(&at, &left), message.bytes + message.header->nlmsg_len);
    assert_null(rtnlmsg_take(&at, &left));
    assert_int_equal(left, 0);
}

static void attributes_of_the_wrong_size_are_refused(void **state)
{
    struct fib_rule_hdr header = { .family = AF_INET6, .action = FR_ACT_TO_TBL };
    struct message message;
    struct rtnl_rule rule;
    uint8_t four[4] = { 0 };

    (void)state;
    begin(&message, RTM_NEWRULE, &header, sizeof(header));
    mnl_attr_put(message.header, FRA_SRC, sizeof(four), four); /* IPv6 has 16 */
    assert_false(rtnlmsg_rule(message.header, &rule));
    begin(&message, RTM_NEWRULE, &header, sizeof(header));
    mnl_attr_put_u8(message.header, FRA_TABLE, 1);
    assert_false(rtnlmsg_rule(message.header, &rule));
    begin(&message, RTM_NEWRULE, &header, sizeof(header));
    mnl_attr_put_strz(message.header, FRA_IIFNAME, "a-name-of-sixteen");
    assert_false(rtnlmsg_rule(message.header, &rule));
    header.src_len = 129;
    begin(&message, RTM_NEWRULE, &header, sizeof(header));
    assert_false(rtnlmsg_rule(message.header, &rule));
}

static void messages_of_another_kind_are_refused(void **state)
{
    struct message message;
    struct rtnl_rule rule;
    struct rtnl_route route;

    (void)state;
    a_whole_rule(&message);
    assert_false(rtnlmsg_route(message.header, &route));
    a_whole_route(&message);
    assert_false(rtnlmsg_rule(message.header, &rule));
    ((struct rtmsg *)mnl_nlmsg_get_payload(message.header))->rtm_family =
        128; /* RTNL_FAMILY_IPMR */
    assert_false(rtnlmsg_route(message.header, &route));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_is_read_with_all_its_selectors),
        cmocka_unit_test(a_mark_without_a_mask_counts_in_every_bit),
        cmocka_unit_test(ranges_are_read),
        cmocka_unit_test(selectors_that_are_not_known_make_it_special),
        cmocka_unit_test(a_route_is_read_with_gateway_and_metric),
        cmocka_unit_test(an_address_is_read_with_its_broadcast),
        cmocka_unit_test(an_address_that_is_none_is_refused),
        cmocka_unit_test(an_interface_is_read_with_its_kind_and_its_bridge),
        cmocka_unit_test(an_interface_whose_kind_is_cut_off_is_refused),
        cmocka_unit_test(a_truncated_message_is_refused_at_every_length),
        cmocka_unit_test(a_length_beyond_the_bytes_ends_the_walk),
        cmocka_unit_test(messages_are_taken_one_after_the_other),
        cmocka_unit_test(attributes_of_the_wrong_size_are_refused),
        cmocka_unit_test(messages_of_another_kind_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
