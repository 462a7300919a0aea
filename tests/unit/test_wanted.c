/* SPDX-License-Identifier: BSD-2-Clause */
#include "routing_support.h"

#define L4 "127.0.0.1:22"
#define L6 "[::1]:22"
#define E4 "10.9.0.1:22"
#define E6 "[fd09::1]:22"

#define SAVE4                                                                              \
    "iptables -t mangle -I PREROUTING -m mark --mark 123 -m comment --comment mmproxy -j " \
    "CONNMARK --save-mark\n"
#define RESTORE4                                                                           \
    "iptables -t mangle -I OUTPUT -m connmark --mark 123 -m comment --comment mmproxy -j " \
    "CONNMARK --restore-mark\n"
#define SAVE6                                                                               \
    "ip6tables -t mangle -I PREROUTING -m mark --mark 123 -m comment --comment mmproxy -j " \
    "CONNMARK --save-mark\n"
#define RESTORE6                                                                            \
    "ip6tables -t mangle -I OUTPUT -m connmark --mark 123 -m comment --comment mmproxy -j " \
    "CONNMARK --restore-mark\n"
#define MARK4    "ip rule add fwmark 123 lookup 100\n"
#define MARK6    "ip -6 rule add fwmark 123 lookup 100\n"
#define FROM4    "ip rule add from 127.0.0.0/8 iif lo lookup 100\n"
#define FROM6    "ip -6 rule add from ::1/128 iif lo lookup 100\n"
#define ROUTE4   "ip route add local 0.0.0.0/0 dev lo table 100\n"
#define ROUTE6   "ip -6 route add local ::/0 dev lo table 100\n"
#define ACCEPT   "sysctl -w net.ipv4.tcp_fwmark_accept=1\n"
#define REFLECT4 "sysctl -w net.ipv4.fwmark_reflect=1\n"
#define REFLECT6 "sysctl -w net.ipv6.fwmark_reflect=1\n"
#define REPLIES4                                                                                \
    "nft 'table inet mmproxy-172.18.0.2-tcp-25-mark-123 { chain prerouting { type filter hook " \
    "prerouting priority mangle; ip saddr 172.18.0.2 tcp sport 25 socket transparent 1 meta "   \
    "mark set 123; }; }'\n"
#define REPLIES6                                                                             \
    "nft 'table inet mmproxy-fd00__2-tcp-25-mark-123 { chain prerouting { type filter hook " \
    "prerouting priority mangle; ip6 saddr fd00::2 tcp sport 25 socket transparent 1 meta "  \
    "mark set 123; }; }'\n"
#define LOCALNET "sysctl -w net.ipv4.conf.eth0.route_localnet=1\n"

static const struct wanted_host usual_host = { .has_ipv6 = true, .outbound_v4 = { "eth0" } };

static void add(struct wanted *wanted, struct listener_config *listeners, size_t n,
                const struct wanted_host *host)
{
    struct config config = { .listeners = listeners, .n_listeners = n };

    assert_int_equal(wanted_add(wanted, &config, host), 0);
}

/* All commands, one a line. */
static void assert_commands(const char *name, const struct wanted *wanted, const char *expected)
{
    char text[8192] = "";
    size_t len = 0;

    for (size_t i = 0; i < wanted->n_items; i++) {
        char command[WANTED_COMMAND_MAX];

        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\n",
                                wanted_command(&wanted->items[i], command));
    }
    if (strcmp(text, expected) != 0)
        fail_msg("%s: got\n%sexpected\n%s", name, text, expected);
}

static const struct {
    const char *name;
    enum return_path return_path;
    const char *v4;
    const char *v6;
    const char *commands;
} methods[] = {
    { "connmark asks for what the original asks for, in its order", RETURN_PATH_CONNMARK, E4, E6,
      SAVE4 RESTORE4 SAVE6 RESTORE6 MARK4 ROUTE4 MARK6 ROUTE6 },
    { "connmark to 127.0.0.0/8 needs route_localnet", RETURN_PATH_CONNMARK, L4, NULL,
      SAVE4 RESTORE4 MARK4 ROUTE4 LOCALNET },
    { "connmark to ::1 needs nothing more", RETURN_PATH_CONNMARK, NULL, L6,
      SAVE6 RESTORE6 MARK6 ROUTE6 },
    { "loopback is a rule and a route a family", RETURN_PATH_LOOPBACK, L4, L6,
      FROM4 ROUTE4 FROM6 ROUTE6 },
    { "loopback for IPv4 alone", RETURN_PATH_LOOPBACK, L4, NULL, FROM4 ROUTE4 },
    { "loopback for IPv6 alone", RETURN_PATH_LOOPBACK, NULL, L6, FROM6 ROUTE6 },
    { "fwmark has sysctls and needs no iptables", RETURN_PATH_FWMARK, E4, E6,
      MARK4 ROUTE4 MARK6 ROUTE6 ACCEPT REFLECT4 REFLECT6 },
    { "fwmark for IPv4 alone", RETURN_PATH_FWMARK, L4, NULL, MARK4 ROUTE4 ACCEPT REFLECT4 },
    { "fwmark for IPv6 alone needs tcp_fwmark_accept too", RETURN_PATH_FWMARK, NULL, E6,
      MARK6 ROUTE6 ACCEPT REFLECT6 },
    { "routed has a rule of nftables for each target, and no sysctls", RETURN_PATH_ROUTED,
      "172.18.0.2:25", "[fd00::2]:25", REPLIES4 REPLIES6 MARK4 ROUTE4 MARK6 ROUTE6 },
};

static void a_method_asks_for_its_pieces_in_the_order_of_the_report(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(methods); i++) {
        struct listener_config listener =
            support_listener(methods[i].return_path, methods[i].v4, methods[i].v6, 123, 100);
        struct wanted wanted = { 0 };

        add(&wanted, &listener, 1, &usual_host);
        assert_commands(methods[i].name, &wanted, methods[i].commands);
        wanted_close(&wanted);
    }
}

static void listeners_that_share_mark_and_table_share_the_rules(void **state)
{
    struct listener_config listeners[] = {
        support_listener(RETURN_PATH_FWMARK, "10.9.0.1:22", NULL, 123, 100),
        support_listener(RETURN_PATH_FWMARK, "10.9.0.1:25", NULL, 123, 100),
        support_listener(RETURN_PATH_FWMARK, "10.9.0.1:80", NULL, 124, 100),
        support_listener(RETURN_PATH_LOOPBACK, "127.0.0.1:80", NULL, 123, 200),
    };
    struct wanted wanted = { 0 };

    (void)state;
    add(&wanted, listeners, COUNT(listeners), &usual_host);
    assert_commands("four listeners", &wanted,
                    MARK4 ROUTE4 ACCEPT REFLECT4 "ip rule add fwmark 124 lookup 100\n"
                                                 "ip rule add from 127.0.0.0/8 iif lo lookup 200\n"
                                                 "ip route add local 0.0.0.0/0 dev lo table 200\n");
    wanted_close(&wanted);
}

static void routed_targets_share_rule_and_route_alone(void **state)
{
    struct listener_config listeners[] = {
        support_listener(RETURN_PATH_ROUTED, "172.18.0.2:25", NULL, 123, 100),
        support_listener(RETURN_PATH_ROUTED, "172.18.0.2:25", NULL, 123, 100),
        support_listener(RETURN_PATH_ROUTED, "172.18.0.2:143", NULL, 123, 100),
    };
    struct wanted wanted = { 0 };

    (void)state;
    add(&wanted, listeners, COUNT(listeners), &usual_host);
    assert_int_equal(wanted.n_items, 4);
    assert_int_equal(wanted.items[3].kind, WANTED_MARK_REPLIES);
    assert_int_equal(addr_port(&wanted.items[3].source), 143);
    wanted_close(&wanted);
}

static void routed_replies_are_those_of_the_target_s_ports(void **state)
{
    struct addr_range listen[] = { { support_addr("192.0.2.1:20"), 29 },
                                   { support_addr("192.0.2.2:20"), 29 },
                                   { support_addr("192.0.2.2:50"), 50 } };
    struct listener_config listeners[] = {
        support_listener(RETURN_PATH_ROUTED, "172.18.0.2:8000", "[fd00::2]:1", 123, 100),
        support_listener(RETURN_PATH_ROUTED, NULL, "[fd00::2]:1", 123, 100),
        support_listener(RETURN_PATH_FLOWS, "172.18.0.2:1", NULL, 124, 101),
    };
    struct wanted wanted = { 0 };

    (void)state;
    listeners[0].target_v4.port = TARGET_PORT_RANGE;
    listeners[0].target_v4.last = 8099;
    listeners[0].target_v6.port = TARGET_PORT_SAME;
    listeners[0].listen = listen;
    listeners[0].n_listen = COUNT(listen);
    listeners[1].target_v6.port = TARGET_PORT_HEADER;
    assert_null(port_list_parse(&listeners[1].header_ports, "9000,7000-7009"));
    listeners[2].target_v4.port = TARGET_PORT_HEADER;
    assert_null(port_list_parse(&listeners[2].header_ports, "9000,7000-7009"));
    add(&wanted, listeners, COUNT(listeners), &usual_host);
    static const char *const expected[] = { "ip saddr 172.18.0.2 tcp sport 8000-8099 ",
                                            "ip6 saddr fd00::2 tcp sport 20-29 ",
                                            "ip6 saddr fd00::2 tcp sport 50 ",
                                            "ip6 saddr fd00::2 tcp sport 7000-7009 ",
                                            "ip6 saddr fd00::2 tcp sport 9000 " };
    size_t n = 0;
    for (size_t i = 0; i < wanted.n_items; i++) {
        char rule[WANTED_COMMAND_MAX];
        if (wanted.items[i].kind != WANTED_MARK_REPLIES)
            continue;
        assert_in_range(n, 0, COUNT(expected) - 1);
        wanted_nft_rule(&wanted.items[i], rule);
        assert_memory_equal(rule, expected[n], strlen(expected[n]));
        n++;
    }
    assert_int_equal(n, COUNT(expected));
    wanted_close(&wanted);
}

static void a_line_of_a_version_without_ranges_is_understood(void **state)
{
    struct wanted_item item;

    (void)state;
    assert_true(wanted_parse_item("2 4 123 0 - 172.18.0.2:25 tcp 0", &item));
    assert_int_equal(item.last_port, 25);
    assert_false(wanted_parse_item("2 4 123 0 - 172.18.0.2:25 tcp 0 65536", &item));
}

static void an_item_is_a_line_of_a_file_and_comes_back_equal(void **state)
{
    struct wanted_host host = { .has_ipv6 = true, .outbound_v4 = { "e;id;$(id)" } };
    struct listener_config listeners[] = {
        support_listener(RETURN_PATH_ROUTED, "172.18.0.2:25", "[fd00::2]:25", 4294967295U, 100),
        support_listener(RETURN_PATH_CONNMARK, L4, L6, 123, 4294967294U),
        support_listener(RETURN_PATH_LOOPBACK, L4, L6, 7, 107),
        support_listener(RETURN_PATH_FLOWS, L4, L6, 8, 108),
    };
    struct wanted wanted = { 0 };

    (void)state;
    add(&wanted, listeners, COUNT(listeners), &host);
    for (size_t i = 0; i < wanted.n_items; i++) {
        struct wanted_item back;
        char line[256] = "";
        FILE *file = fmemopen(line, sizeof(line), "w");

        assert_non_null(file);
        wanted_write_item(file, &wanted.items[i]);
        fclose(file);
        assert_true(wanted_parse_item(line, &back));
        assert_true(wanted_item_equal(&wanted.items[i], &back));
    }
    wanted.items[0].is_udp = true; /* of the first listener's first target */
    assert_false(wanted_item_equal(&wanted.items[0], &wanted.items[1]));
    wanted_close(&wanted);
}

static void lines_that_are_no_item(void **state)
{
    static const char *const lines[] = { "",
                                         "what is this",
                                         "3 4 1 2 -",
                                         "3 4 1 2 - - tcp",
                                         "99 4 1 2 - - tcp 0",
                                         "-1 4 1 2 - - tcp 0",
                                         "2 4 1 2 - 172.18.0 tcp 0" };

    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        struct wanted_item item;

        if (wanted_parse_item(lines[i], &item))
            fail_msg("%s", lines[i]);
    }
}

static void several_configurations_make_one_union(void **state)
{
    struct listener_config old = support_listener(RETURN_PATH_LOOPBACK, L4, NULL, 123, 100);
    struct listener_config new = support_listener(RETURN_PATH_LOOPBACK, L4, L6, 123, 100);
    struct wanted wanted = { 0 };

    (void)state;
    add(&wanted, &old, 1, &usual_host);
    add(&wanted, &new, 1, &usual_host);
    assert_commands("old and new", &wanted, FROM4 ROUTE4 FROM6 ROUTE6);
    wanted_close(&wanted);
}

#define FLOWS4                                                                                   \
    "nft 'table inet mmproxy-flows4_123_7 { set flows4_123_7 { type ipv4_addr . inet_service . " \
    "inet_service; size 262144; flags dynamic,timeout; timeout 7s; }; chain record { type "      \
    "filter hook output priority mangle - 10; meta mark 123 meta l4proto udp update "            \
    "@flows4_123_7 { ip saddr . udp sport . udp dport }; }; chain output { type route hook "     \
    "output priority mangle; ip daddr . udp dport . udp sport @flows4_123_7 update "             \
    "@flows4_123_7 { ip daddr . udp dport . udp sport } meta mark set 123; }; }'\n"

static void flows_last_a_little_longer_than_sessions(void **state)
{
    static const struct {
        const char *target;
        const char *commands;
    } rows[] = {
        { L4, FLOWS4 MARK4 FROM4 ROUTE4 }, /* the kernel has no way from 127.0.0.1 to mark */
        { "10.9.0.1:53", FLOWS4 MARK4 ROUTE4 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct listener_config listener =
            support_listener(RETURN_PATH_FLOWS, rows[i].target, NULL, 123, 100);
        struct wanted wanted = { 0 };

        listener.protocol = PROTOCOL_UDP;
        listener.idle_timeout_ms = 1001;
        add(&wanted, &listener, 1, &usual_host);
        assert_commands(rows[i].target, &wanted, rows[i].commands);
        wanted_close(&wanted);
    }
}

static void a_host_without_ipv6_is_asked_for_nothing_of_it(void **state)
{
    struct wanted_host host = { .has_ipv6 = false };
    struct listener_config listener = support_listener(RETURN_PATH_FWMARK, L4, L6, 123, 100);
    struct wanted wanted = { 0 };

    (void)state;
    add(&wanted, &listener, 1, &host);
    assert_commands("no IPv6", &wanted, MARK4 ROUTE4 ACCEPT REFLECT4);
    wanted_close(&wanted);
}

static void a_host_that_paces_does_not_pace_what_comes_back(void **state)
{
    struct wanted_host host = { .is_paced = true };
    struct listener_config listener = support_listener(RETURN_PATH_LOOPBACK, L4, NULL, 123, 100);
    struct wanted wanted = { 0 };
    char command[WANTED_COMMAND_MAX];

    (void)state;
    add(&wanted, &listener, 1, &host);
    assert_string_equal(wanted_command(&wanted.items[1], command),
                        "ip route add local 0.0.0.0/0 dev lo table 100 congctl reno");
    assert_string_equal(wanted_undo(&wanted.items[1], command),
                        "ip route del local 0.0.0.0/0 dev lo table 100");

    /* The need is the same: a route without it will do. */
    host.is_paced = false;
    add(&wanted, &listener, 1, &host);
    assert_int_equal(wanted.n_items, 2);
    wanted_close(&wanted);
}

static void without_an_outbound_interface_there_is_no_route_localnet(void **state)
{
    struct wanted_host host = { .has_ipv6 = true };
    struct listener_config listener = support_listener(RETURN_PATH_CONNMARK, L4, NULL, 123, 100);
    struct wanted wanted = { 0 };

    (void)state;
    add(&wanted, &listener, 1, &host);
    assert_commands("no default route", &wanted, SAVE4 RESTORE4 MARK4 ROUTE4);
    wanted_close(&wanted);
}

static void the_dot_in_a_vlan_is_written_as_sysctl_wants_it(void **state)
{
    char name[WANTED_SYSCTL_MAX];

    (void)state;
    wanted_localnet_name("eth0.100", name);
    assert_string_equal(name, "net.ipv4.conf.eth0/100.route_localnet");
}

static const struct {
    const char *name;
    struct wanted_item item;
    const char *undo;
} undos[] = {
    { "save",
      { .kind = WANTED_SAVE_MARK, .family = AF_INET, .mark = 7 },
      "iptables -t mangle -D PREROUTING -m mark --mark 7 -m comment --comment mmproxy -j CONNMARK "
      "--save-mark" },
    { "restore",
      { .kind = WANTED_RESTORE_MARK, .family = AF_INET6, .mark = 4294967295U },
      "ip6tables -t mangle -D OUTPUT -m connmark --mark 4294967295 -m comment --comment mmproxy "
      "-j CONNMARK --restore-mark" },
    { "replies of a target",
      { .kind = WANTED_MARK_REPLIES,
        .family = AF_INET,
        .mark = 7,
        .source.in = { .sin_family = AF_INET, .sin_port = 0x1900, .sin_addr = { 0x020012ac } } },
      "nft delete table inet mmproxy-172.18.0.2-tcp-25-mark-7" },
    { "replies of many ports",
      { .kind = WANTED_MARK_REPLIES,
        .family = AF_INET,
        .mark = 7,
        .source.in = { .sin_family = AF_INET, .sin_port = 0x1900, .sin_addr = { 0x020012ac } },
        .last_port = 99 },
      "nft delete table inet mmproxy-172.18.0.2-tcp-25-99-mark-7" },
    { "flows",
      { .kind = WANTED_MARK_FLOWS, .family = AF_INET6, .mark = 7, .timeout_s = 65 },
      "nft delete table inet mmproxy-flows6_7_65" },
    { "rule by mark",
      { .kind = WANTED_RULE, .family = AF_INET6, .mark = 7, .table = 4294967294U },
      "ip -6 rule del fwmark 7 lookup 4294967294" },
    { "rule by source",
      { .kind = WANTED_RULE, .family = AF_INET, .table = 300 },
      "ip rule del from 127.0.0.0/8 iif lo lookup 300" },
    { "route",
      { .kind = WANTED_ROUTE, .family = AF_INET6, .table = 300 },
      "ip -6 route del local ::/0 dev lo table 300" },
    { "sysctl",
      { .kind = WANTED_SYSCTL, .family = AF_INET, .sysctl = "net.ipv4.fwmark_reflect" },
      "sysctl -w net.ipv4.fwmark_reflect=0" },
};

static void each_item_has_the_command_that_takes_it_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(undos); i++) {
        char command[WANTED_COMMAND_MAX];

        if (strcmp(wanted_undo(&undos[i].item, command), undos[i].undo) != 0)
            fail_msg("%s: %s", undos[i].name, command);
    }
}

static void an_item_is_for_the_listeners_that_need_it(void **state)
{
    struct listener_config marked = support_listener(RETURN_PATH_FWMARK, E4, NULL, 123, 100);
    struct listener_config other = support_listener(RETURN_PATH_FWMARK, E4, NULL, 124, 100);
    struct wanted_item rule = support_item(WANTED_RULE, AF_INET, 123, 100);
    struct wanted_item route = support_item(WANTED_ROUTE, AF_INET, 0, 100);

    (void)state;
    assert_true(wanted_is_for(&rule, &marked, &usual_host));
    assert_false(wanted_is_for(&rule, &other, &usual_host));
    assert_true(wanted_is_for(&route, &marked, &usual_host));
    assert_true(wanted_is_for(&route, &other, &usual_host));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_method_asks_for_its_pieces_in_the_order_of_the_report),
        cmocka_unit_test(listeners_that_share_mark_and_table_share_the_rules),
        cmocka_unit_test(several_configurations_make_one_union),
        cmocka_unit_test(routed_targets_share_rule_and_route_alone),
        cmocka_unit_test(routed_replies_are_those_of_the_target_s_ports),
        cmocka_unit_test(a_line_of_a_version_without_ranges_is_understood),
        cmocka_unit_test(an_item_is_a_line_of_a_file_and_comes_back_equal),
        cmocka_unit_test(lines_that_are_no_item),
        cmocka_unit_test(flows_last_a_little_longer_than_sessions),
        cmocka_unit_test(a_host_without_ipv6_is_asked_for_nothing_of_it),
        cmocka_unit_test(a_host_that_paces_does_not_pace_what_comes_back),
        cmocka_unit_test(without_an_outbound_interface_there_is_no_route_localnet),
        cmocka_unit_test(the_dot_in_a_vlan_is_written_as_sysctl_wants_it),
        cmocka_unit_test(each_item_has_the_command_that_takes_it_down),
        cmocka_unit_test(an_item_is_for_the_listeners_that_need_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
