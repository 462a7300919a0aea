/* SPDX-License-Identifier: BSD-2-Clause */
#include "routing_support.h"

#include <stdio.h>

#include "mmproxy/routing/wanted/ruleset.h"

/* As `nft -a list ruleset` writes it. */
static const char text[] =
    "table ip nat { # handle 1\n"
    "\tchain INPUT { # handle 1\n"
    "\t\ttype nat hook input priority 100; policy accept;\n"
    "\t}\n"
    "}\n"
    "table ip6 six { # handle 2\n"
    "\tchain input { # handle 1\n"
    "\t\ttype filter hook input priority filter; policy drop;\n"
    "\t}\n"
    "}\n"
    "table inet wall { # handle 3\n"
    "\tset banned {\n"
    "\t\ttype ipv4_addr\n"
    "\t\telements = { 192.0.2.7 }\n"
    "\t}\n"
    "\tchain strangers { # handle 9\n"
    "\t\tudp dport 53 drop # handle 10\n"
    "\t\tip saddr @banned drop # handle 11\n"
    "\t\tip saddr { 198.51.100.0/24, 203.0.113.0/24 } tcp dport 20-22 counter packets 5 bytes 9 "
    "reject with tcp reset # handle 12\n"
    "\t}\n"
    "\tchain input { # handle 2\n"
    "\t\ttype filter hook input priority filter; policy accept;\n"
    "\t\tct state established,related accept # handle 3\n"
    "\t\tiifname \"eth0\" drop # handle 4\n"
    "\t\tip saddr != 127.0.0.0/8 counter packets 0 bytes 0 jump strangers # handle 5\n"
    "\t\tip saddr 192.0.2.0/24 meta length 40 drop # handle 6\n"
    "\t\tip saddr 192.0.9.0/24 log prefix \"a b \" level info drop # handle 7\n"
    "\t}\n"
    "\tchain marks { # handle 20\n"
    "\t\ttype route hook output priority mangle; policy accept;\n"
    "\t\ttcp sport 22 meta mark set 0x00000005 # handle 21\n"
    "\t}\n"
    "\tchain raw { # handle 30\n"
    "\t\ttype filter hook prerouting priority raw; policy accept;\n"
    "\t\tiif \"lo\" notrack # handle 31\n"
    "\t}\n"
    "}\n";

static struct ruleset_found found; /* by the last find */

static bool find(const char *hook, const char *src, const char *dst, bool is_new, uint32_t mark,
                 unsigned effects)
{
    struct ruleset_packet packet = { .hook = hook,
                                     .device = "lo",
                                     .src = support_addr(src),
                                     .dst = support_addr(dst),
                                     .mark = mark,
                                     .is_new = is_new,
                                     .is_dst_local = is_new };

    struct ruleset_list list = { .n_items = 0 };

    ruleset_find(&(struct ruleset){ text, true, NULL }, &packet, effects, &list);
    found = list.items[0];
    return list.n_items > 0;
}

static void a_rule_in_a_chain_that_is_jumped_to_is_found(void **state)
{
    (void)state;
    assert_true(find("input", "198.51.100.7:40000", "127.0.0.1:22", true, 0, RULESET_REFUSES));
    assert_int_equal(found.effect, RULESET_REJECT);
    assert_string_equal(found.command, "nft delete rule inet wall strangers handle 12");
    assert_non_null(strstr(found.rule, "inet wall, chain strangers: ip saddr { 198.51.100.0/24"));
}

static void what_does_not_match_is_passed_over(void **state)
{
    (void)state;
    assert_false(find("input", "198.51.100.7:40000", "127.0.0.1:80", true, 0, RULESET_REFUSES));
    assert_false(find("input", "127.0.0.1:40000", "127.0.0.1:22", true, 0, RULESET_REFUSES));
    /* Accepted before. */
    assert_false(find("input", "198.51.100.7:40000", "127.0.0.1:22", false, 0, RULESET_REFUSES));
    assert_false(find("output", "198.51.100.7:40000", "127.0.0.1:22", true, 0, RULESET_REFUSES));
}

static void what_is_not_understood_is_not_found(void **state)
{
    (void)state;
    assert_false(find("input", "192.0.2.8:40000", "127.0.0.1:22", true, 0, RULESET_REFUSES));
    assert_true(find("input", "192.0.9.8:40000", "127.0.0.1:22", true, 0, RULESET_REFUSES));
}

static bool find_in(const char *rules, bool has_elements, const char *hook, const char *client)
{
    struct ruleset_packet packet = { .hook = hook,
                                     .device = "lo",
                                     .src = support_addr(client),
                                     .dst = support_addr("127.0.0.1:22"),
                                     .is_new = true,
                                     .is_dst_local = true };
    struct ruleset_list list = { .n_items = 0 };

    ruleset_find(&(struct ruleset){ rules, has_elements, NULL }, &packet, RULESET_REFUSES, &list);
    found = list.items[0];
    return list.n_items > 0;
}

static void a_set_counts_where_its_elements_are_known(void **state)
{
    static const char rules[] = "table inet wall {\n"
                                "\tset banned {\n"
                                "\t\ttype ipv4_addr\n"
                                "\t\tflags interval,timeout\n"
                                "\t\telements = { 192.0.2.0/25 timeout 1h expires 59m12s500ms,\n"
                                "\t\t\t     203.0.113.7-203.0.113.9 }\n"
                                "\t}\n"
                                "\tset pairs {\n"
                                "\t\ttype ipv4_addr . inet_service\n"
                                "\t\telements = { 198.51.100.7 . 22 }\n"
                                "\t}\n"
                                "\tchain input {\n"
                                "\t\ttype filter hook input priority filter; policy accept;\n"
                                "\t\tip saddr @pairs drop # handle 8\n"
                                "\t\tip saddr @banned drop # handle 9\n"
                                "\t}\n"
                                "}\n";

    (void)state;
    assert_true(find_in(rules, true, "input", "192.0.2.1:40000"));
    assert_string_equal(found.command, "nft delete rule inet wall input handle 9");
    assert_true(find_in(rules, true, "input", "203.0.113.8:40000"));
    assert_false(find_in(rules, true, "input", "192.0.2.200:40000"));
    assert_false(find_in(rules, true, "input", "198.51.100.7:40000"));
    assert_false(find_in(rules, false, "input", "192.0.2.1:40000"));
}

static void a_map_of_verdicts_is_followed(void **state)
{
    static const char rules[] =
        "table inet wall {\n"
        "\tchain strangers {\n"
        "\t\tip saddr 192.0.2.0/24 drop # handle 7\n"
        "\t}\n"
        "\tchain input {\n"
        "\t\ttype filter hook input priority filter; policy drop;\n"
        "\t\tct state vmap { established : accept, related : accept, invalid : drop } # handle 8\n"
        "\t\tiifname vmap { \"eth0\" : drop, \"lo\" : jump strangers } # handle 9\n"
        "\t\ttcp dport vmap { 22 : accept, 80 : drop } # handle 10\n"
        "\t}\n"
        "}\n";

    (void)state;
    assert_false(find_in(rules, true, "input", "198.51.100.7:40000"));
    assert_true(find_in(rules, true, "input", "192.0.2.1:40000"));
    assert_string_equal(found.command, "nft delete rule inet wall strangers handle 7");
}

static void a_chain_of_a_device_counts_for_that_device(void **state)
{
    static const char rules[] =
        "table netdev early {\n"
        "\tchain other {\n"
        "\t\ttype filter hook ingress device \"eth0\" priority filter; policy drop;\n"
        "\t}\n"
        "\tchain lo {\n"
        "\t\ttype filter hook ingress devices = { \"eth1\", \"lo\" } priority filter; policy "
        "accept;\n"
        "\t\tip saddr 192.0.2.0/24 drop # handle 7\n"
        "\t}\n"
        "}\n";

    (void)state;
    assert_true(find_in(rules, true, "ingress", "192.0.2.1:40000"));
    assert_string_equal(found.command, "nft delete rule netdev early lo handle 7");
    assert_false(find_in(rules, true, "ingress", "198.51.100.7:40000"));
    assert_false(find_in(rules, true, "input", "192.0.2.1:40000"));
}

static void a_policy_counts_for_its_family(void **state)
{
    (void)state;
    assert_true(find("input", "[2001:db8::7]:40000", "[::1]:22", true, 0, RULESET_REFUSES));
    assert_int_equal(found.effect, RULESET_POLICY_DROP);
    assert_string_equal(found.command, "nft insert rule ip6 six input iif lo accept");
}

static void a_change_of_the_mark_is_found_and_the_same_mark_is_none(void **state)
{
    (void)state;
    assert_true(find("output", "127.0.0.1:22", "192.0.2.1:40000", false, 123, RULESET_SET_MARK));
    assert_string_equal(found.command, "nft delete rule inet wall marks handle 21");
    assert_false(find("output", "127.0.0.1:22", "192.0.2.1:40000", false, 5, RULESET_SET_MARK));
    assert_false(find("output", "127.0.0.1:25", "192.0.2.1:40000", false, 123, RULESET_SET_MARK));
}

static void conntrack_that_is_switched_off_is_found(void **state)
{
    (void)state;
    assert_true(find("prerouting", "192.0.2.1:40000", "127.0.0.1:22", true, 0, RULESET_NOTRACK));
    assert_int_equal(found.effect, RULESET_NOTRACK);
    assert_false(find("prerouting", "192.0.2.1:40000", "127.0.0.1:22", true, 0, RULESET_REFUSES));
}

/* The kernel decides on what starts here in output and postrouting, and in no later hook. */
static void docker_s_rule_for_packets_from_outside_is_not_blamed(void **state)
{
    static const struct {
        const char *hook;
        unsigned effect; /* 0: none */
    } cases[] = {
        { "output", RULESET_DNAT },
        { "postrouting", RULESET_SNAT },
        { "prerouting", 0 },
        { "input", 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ruleset_list list = { .n_items = 0 };
        struct ruleset_packet packet = { .hook = cases[i].hook,
                                         .device = "lo",
                                         .src = support_addr("192.0.2.1:40000"),
                                         .dst = support_addr("127.0.0.1:8025"),
                                         .is_new = true,
                                         .is_dst_local = true };
        char rules[512];

        snprintf(rules, sizeof rules,
                 "table ip nat { # handle 1\n"
                 "\tchain DOCKER { # handle 3\n"
                 "\t\ttcp dport 8025 counter packets 0 bytes 0 dnat to 10.77.0.2:25 # handle 13\n"
                 "\t}\n"
                 "\tchain NAT { # handle 2\n"
                 "\t\ttype nat hook %s priority 0; policy accept;\n"
                 "\t\tfib daddr type local counter packets 0 bytes 0 jump DOCKER # handle 4\n"
                 "\t}\n"
                 "}\n",
                 cases[i].hook);
        ruleset_find(&(struct ruleset){ rules, true, NULL }, &packet, RULESET_DNAT | RULESET_SNAT,
                     &list);
        assert_int_equal(list.n_items, cases[i].effect != 0);
        if (cases[i].effect != 0)
            assert_int_equal(list.items[0].effect, cases[i].effect);
    }
}

static void every_rule_in_the_way_is_found_once(void **state)
{
    static const char walls[] = "table inet wall { # handle 3\n"
                                "\tchain input { # handle 2\n"
                                "\t\ttype filter hook input priority filter; policy drop;\n"
                                "\t\tiif lo drop # handle 4\n"
                                "\t\ttcp dport 22 drop # handle 5\n"
                                "\t\ttcp dport 80 drop # handle 6\n"
                                "\t\tip6 nexthdr tcp accept # handle 7\n"
                                "\t\tip6 saddr != ::1 accept # handle 8\n"
                                "\t}\n"
                                "}\n";
    struct ruleset_packet packet = { .hook = "input",
                                     .device = "lo",
                                     .src = support_addr("192.0.2.1:40000"),
                                     .dst = support_addr("127.0.0.1:22") };
    struct ruleset_list list = { .n_items = 0 };

    (void)state;
    for (int i = 0; i < 2; i++)
        ruleset_find(&(struct ruleset){ walls, true, NULL }, &packet, RULESET_REFUSES, &list);
    assert_int_equal(list.n_items, 3);
    assert_string_equal(list.items[0].command, "nft delete rule inet wall input handle 4");
    assert_string_equal(list.items[1].command, "nft delete rule inet wall input handle 5");
    assert_string_equal(list.items[2].command, "nft insert rule inet wall input iif lo accept");
}

/* It keeps what it is there for from leaving; replies to clients do not leave. */
static void a_kill_switch_stays_and_replies_pass_in_front_of_it(void **state)
{
    static const char rules[] = "table inet vpn { # handle 1\n"
                                "\tchain early { # handle 2\n"
                                "\t\ttype filter hook output priority raw; policy accept;\n"
                                "\t\tip daddr 192.0.2.0/25 drop # handle 3\n"
                                "\t}\n"
                                "\tchain output { # handle 4\n"
                                "\t\ttype filter hook output priority filter; policy drop;\n"
                                "\t\toifname \"tun0\" accept # handle 5\n"
                                "\t\toifname != \"wg0\" meta mark != 0x0000ca6c reject # handle 6\n"
                                "\t}\n"
                                "}\n";
    struct ruleset_packet packet = { .hook = "output",
                                     .device = "eth0",
                                     .src = support_addr("127.0.0.1:22"),
                                     .dst = support_addr("192.0.2.1:40000"),
                                     .mark = 123,
                                     .is_rerouted = true };
    struct ruleset_list list = { .n_items = 0 };

    (void)state;
    ruleset_find(&(struct ruleset){ rules, true, NULL }, &packet, RULESET_REFUSES, &list);
    assert_int_equal(list.n_items, 2); /* the policy has the same command as the rule */
    assert_string_equal(list.items[0].command, "nft delete rule inet vpn early handle 3");
    assert_false(list.items[0].is_by_mark); /* there they have no mark yet */
    assert_string_equal(list.items[1].command,
                        "nft insert rule inet vpn output meta mark 123 accept");
    assert_true(list.items[1].is_by_mark);

    list.n_items = 0;
    packet.device = "lo";
    packet.is_rerouted = false;
    packet.dst = support_addr("198.51.100.1:40000");
    ruleset_find(&(struct ruleset){ rules, true, NULL }, &packet, RULESET_REJECT, &list);
    assert_int_equal(list.n_items, 1);
    assert_string_equal(list.items[0].command, "nft insert rule inet vpn output oif lo accept");
    assert_false(list.items[0].is_by_mark);

    list.n_items = 0;
    packet.device = "tun0";
    ruleset_find(&(struct ruleset){ rules, true, NULL }, &packet, RULESET_REFUSES, &list);
    assert_int_equal(list.n_items, 0);
}

/* In the network namespace of a container names and comments are as somebody there chose them. */
static void names_and_comments_run_nothing(void **state)
{
    static const char rules[] = "table inet a;id { # handle 1\n"
                                "\tchain $(id) { # handle 2\n"
                                "\t\ttype filter hook input priority filter; policy accept;\n"
                                "\t\tdrop comment \"a\" ; id\" # handle 3\n"
                                "\t\tdrop comment \"\x01# ip;id -A x\" # handle 4\n"
                                "\t}\n"
                                "}\n";
    const struct ruleset_packet packet = { .hook = "input",
                                           .device = "lo",
                                           .src = support_addr("192.0.2.1:40000"),
                                           .dst = support_addr("127.0.0.1:22") };
    struct ruleset_list list = { .n_items = 0 };

    (void)state;
    ruleset_find(&(struct ruleset){ rules, true, NULL }, &packet, RULESET_REFUSES, &list);
    assert_int_equal(list.n_items, 2);
    assert_string_equal(list.items[0].command, "nft delete rule inet aid '$(id)' handle 3");
    assert_string_equal(list.items[1].command, "nft delete rule inet aid '$(id)' handle 4");
    assert_string_equal(list.items[0].rule, "inet aid, chain \\$\\(id\\): drop comment \\\"a\\\" "
                                            "\\; id\\\"");
}

/* Each chain has three jumps to the next one: so many ways have no end. */
static void chains_that_jump_on_and_on_are_left(void **state)
{
    char rules[4096] =
        "table inet x {\n\tchain c0 {\n\t\ttype filter hook input priority 0; policy drop;\n";
    const struct ruleset_packet packet = { .hook = "input",
                                           .device = "lo",
                                           .src = support_addr("192.0.2.1:40000"),
                                           .dst = support_addr("127.0.0.1:22") };
    struct ruleset_list list = { .n_items = 0 };
    size_t len = strlen(rules);

    (void)state;
    for (int i = 1; i < 30; i++)
        len += (size_t)snprintf(rules + len, sizeof rules - len,
                                "\t\tjump c%d\n\t\tjump c%d\n\t\tjump c%d\n\t}\n\tchain c%d {\n", i,
                                i, i, i);
    (void)snprintf(rules + len, sizeof rules - len, "\t}\n}\n");
    ruleset_find(&(struct ruleset){ rules, true, NULL }, &packet, RULESET_REFUSES, &list);
    assert_int_equal(list.n_items, 0); /* what was not looked at to its end is not blamed */
}

static void text_that_ends_anywhere_is_no_harm(void **state)
{
    struct ruleset_packet packet = { .hook = "input",
                                     .device = "lo",
                                     .src = support_addr("198.51.100.7:40000"),
                                     .dst = support_addr("127.0.0.1:22") };
    struct ruleset_list list = { .n_items = 0 };

    (void)state;
    for (size_t len = 0; len < sizeof text; len++) {
        char *copy = strndup(text, len);

        assert_non_null(copy);
        ruleset_find(&(struct ruleset){ copy, true, NULL }, &packet, RULESET_REFUSES, &list);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_in_a_chain_that_is_jumped_to_is_found),
        cmocka_unit_test(what_does_not_match_is_passed_over),
        cmocka_unit_test(what_is_not_understood_is_not_found),
        cmocka_unit_test(a_set_counts_where_its_elements_are_known),
        cmocka_unit_test(a_map_of_verdicts_is_followed),
        cmocka_unit_test(a_chain_of_a_device_counts_for_that_device),
        cmocka_unit_test(a_policy_counts_for_its_family),
        cmocka_unit_test(a_change_of_the_mark_is_found_and_the_same_mark_is_none),
        cmocka_unit_test(conntrack_that_is_switched_off_is_found),
        cmocka_unit_test(docker_s_rule_for_packets_from_outside_is_not_blamed),
        cmocka_unit_test(every_rule_in_the_way_is_found_once),
        cmocka_unit_test(a_kill_switch_stays_and_replies_pass_in_front_of_it),
        cmocka_unit_test(names_and_comments_run_nothing),
        cmocka_unit_test(chains_that_jump_on_and_on_are_left),
        cmocka_unit_test(text_that_ends_anywhere_is_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
