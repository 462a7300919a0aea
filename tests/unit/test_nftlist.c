/* SPDX-License-Identifier: BSD-2-Clause */
#include "routing_support.h"

#include "mmproxy/routing/wanted/nftlist.h"

#define PRE(priority) \
    "chain a {\n\t\ttype filter hook prerouting priority " priority "; policy accept;\n"
#define OUT(type) "chain b {\n\t\ttype " type " hook output priority -150; policy accept;\n"
#define SAVE      "meta mark 0x0000007b ct mark set meta mark\n"
#define RESTORE   "ct mark 0x0000007b meta mark set ct mark\n"

/* have: s = saves, r = restores; 4, 6 = the families; "s4s6r4r6" is everything. */
static const struct {
    const char *name;
    const char *text;
    const char *have;
} rulesets[] = {
    { "nothing", "", "" },
    { "an inet table", "table inet x {\n" PRE("-150") SAVE "}\n" OUT("route") RESTORE "}\n}\n",
      "s4s6r4r6" },
    { "an ip table", "table ip x {\n" PRE("-150") SAVE "}\n" OUT("route") RESTORE "}\n}\n",
      "s4r4" },
    { "an ip6 table", "table ip6 x {\n" PRE("-150") SAVE "}\n}\n", "s6" },
    { "as iptables-nft's rules are shown",
      "# Warning: table ip mangle is managed by iptables-nft, do not touch!\n"
      "table ip mangle {\n" PRE("-150") "\t\tmeta mark 0x0000007b  counter packets 14 bytes 767 ct "
                                        "mark set mark\n\t}\n" OUT(
                                            "route") "\t\tct mark 0x7b  counter packets 1 bytes 2 "
                                                     "meta mark set ct mark\n\t}\n}\n",
      "s4r4" },
    { "with a comment",
      "table inet x {\n" PRE(
          "-150") "meta mark 123 counter ct mark set meta mark comment \"a b\"\n}\n}\n",
      "s4s6" },
    { "for one family of an inet table",
      "table inet x {\n" PRE("-150") "meta nfproto ipv6 " SAVE "}\n}\n", "s6" },
    { "for TCP on lo alone",
      "table inet x {\n" PRE("-150") "meta l4proto 6 iif \"lo\" " SAVE "}\n}\n", "s4s6" },
    { "a saving rule before connection tracking does nothing",
      "table inet x {\n" PRE("-300") SAVE "}\n}\n", "" },
    { "a restoring rule in a chain of type filter does not route anew",
      "table inet x {\n" OUT("filter") RESTORE "}\n}\n", "" },
    { "a chain that is no base chain", "table inet x {\nchain c {\n" SAVE RESTORE "}\n}\n", "" },
    { "a base chain does not lend its hook to the next one",
      "table inet x {\n" PRE("-150") "}\nchain c {\n" SAVE "}\n}\n", "" },
    { "another mark",
      "table inet x {\n" PRE("-150") "meta mark 0x0000007c ct mark set meta mark\n}\n}\n", "" },
    { "a condition that excludes packets",
      "table inet x {\n" PRE("-150") "ip saddr 10.0.0.0/8 " SAVE "}\n}\n", "" },
    { "another interface", "table inet x {\n" PRE("-150") "iif \"eth0\" " SAVE "}\n}\n", "" },
    { "no condition at all", "table inet x {\n" PRE("-150") "ct mark set meta mark\n}\n}\n", "" },
    { "the wrong way round in the wrong place",
      "table inet x {\n" PRE("-150") RESTORE "}\n" OUT("route") SAVE "}\n}\n", "" },
    { "for both families at once, that is for none",
      "table inet x {\n" PRE("-150") "meta nfproto 2 meta nfproto 10 " SAVE "}\n}\n", "" },
    { "another family of tables", "table bridge x {\n" PRE("-150") SAVE "}\n}\n", "" },
    { "a number that is none",
      "table inet x {\n" PRE("-150") "meta mark 0x7bq ct mark set meta mark\n}\n}\n", "" },
    { "a line cut short", "table inet x {\n" PRE("-150") "meta mark 0x7b ct mark set", "" },
    { "a mark beyond 32 bits",
      "table inet x {\n" PRE("-150") "meta mark 0x10000007b ct mark set meta mark\n}\n}\n", "" },
};

static void what_does_the_same_as_the_iptables_rules_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rulesets); i++) {
        struct nftlist list = { 0 };
        char have[16] = "";

        assert_int_equal(nftlist_parse(&list, rulesets[i].text), 0);
        for (int n = 0; n < 4; n++) {
            bool is_save = n < 2;
            sa_family_t family = n % 2 == 0 ? AF_INET : AF_INET6;

            struct wanted_item item =
                support_item(is_save ? WANTED_SAVE_MARK : WANTED_RESTORE_MARK, family, 123, 0);

            if (nftlist_has(&list, &item))
                snprintf(have + strlen(have), sizeof(have) - strlen(have), "%c%c",
                         is_save ? 's' : 'r', n % 2 == 0 ? '4' : '6');
        }
        if (strcmp(have, rulesets[i].have) != 0)
            fail_msg("%s: has %s", rulesets[i].name, have);
        nftlist_close(&list);
    }
}

#define REPLIES(who) who "socket transparent 1 meta mark set 0x0000007b\n"
#define IN_PRE(rule) "table inet x {\n" PRE("-150") rule "}\n}\n"

/* Replies of 172.18.0.2:25 ('4') and [fd00::2]:25 ('6'). */
static const struct {
    const char *name;
    const char *text;
    const char *have;
} replies[] = {
    { "of the target", IN_PRE(REPLIES("ip saddr 172.18.0.2 tcp sport 25 ")), "4" },
    { "of the target, IPv6", IN_PRE(REPLIES("ip6 saddr fd00::2 tcp sport 25 ")), "6" },
    { "of both",
      IN_PRE(REPLIES("ip saddr 172.18.0.2 tcp sport 25 ")
                 REPLIES("tcp sport 25 ip6 saddr fd00::2 ")),
      "46" },
    { "of every TCP target", IN_PRE(REPLIES("meta l4proto 6 ")), "46" },
    { "of every target", IN_PRE(REPLIES("")), "46" },
    { "of every port of the target", IN_PRE(REPLIES("ip saddr 172.18.0.2 ")), "4" },
    { "of UDP alone", IN_PRE(REPLIES("meta l4proto 17 ")), "" },
    { "of the target's UDP port", IN_PRE(REPLIES("ip saddr 172.18.0.2 udp sport 25 ")), "" },
    { "of both protocols at once, that is of none",
      IN_PRE(REPLIES("meta l4proto 17 tcp sport 25 ")), "" },
    { "in an ip table", "table ip x {\n" PRE("-300") REPLIES("") "}\n}\n", "4" },
    { "counted, with a comment",
      IN_PRE("counter packets 1 bytes 2 socket transparent 1 meta mark set 123 comment \"x\"\n"),
      "46" },
    { "of another address", IN_PRE(REPLIES("ip saddr 172.18.0.3 tcp sport 25 ")), "" },
    { "of another port", IN_PRE(REPLIES("ip saddr 172.18.0.2 tcp sport 26 ")), "" },
    { "of a network", IN_PRE(REPLIES("ip saddr 172.18.0.0/16 ")), "" },
    { "of a set", IN_PRE(REPLIES("ip saddr @targets ")), "" },
    { "of an address of the other family", IN_PRE(REPLIES("ip saddr fd00::2 ")), "" },
    { "of many ports", IN_PRE(REPLIES("tcp sport 20-30 ")), "46" },
    { "of this port, as a range", IN_PRE(REPLIES("tcp sport 25-25 ")), "46" },
    { "of ports below", IN_PRE(REPLIES("tcp sport 20-24 ")), "" },
    { "of ports above", IN_PRE(REPLIES("tcp sport 26-30 ")), "" },
    { "of ports backwards", IN_PRE(REPLIES("tcp sport 30-20 ")), "" },
    { "of two addresses at once, that is of none",
      IN_PRE(REPLIES("ip saddr 172.18.0.2 ip saddr 172.18.0.2 ")), "" },
    { "by one interface", IN_PRE(REPLIES("iif \"lo\" ")), "" },
    { "another mark", IN_PRE("socket transparent 1 meta mark set 0x7c\n"), "" },
    { "mark 0", IN_PRE("socket transparent 1 meta mark set 0x0\n"), "" },
    { "any packet, ours or not", IN_PRE("ip saddr 172.18.0.2 meta mark set 0x7b\n"), "" },
    { "sockets that are not transparent", IN_PRE("socket transparent 0 meta mark set 0x7b\n"), "" },
    { "more than a mark", IN_PRE("socket transparent 1 meta mark set 0x7b drop\n"), "" },
    { "after routing",
      "table inet x {\nchain a {\ntype filter hook input priority 0; policy accept;\n" REPLIES(
          "") "}\n}\n",
      "" },
};

static void rules_that_mark_a_target_s_replies_are_found(void **state)
{
    struct wanted_item items[] = {
        { .kind = WANTED_MARK_REPLIES, .family = AF_INET, .mark = 123 },
        { .kind = WANTED_MARK_REPLIES, .family = AF_INET6, .mark = 123 },
    };

    (void)state;
    items[0].last_port = items[1].last_port = 25;
    items[0].source = support_addr("172.18.0.2:25");
    items[1].source = support_addr("[fd00::2]:25");
    for (size_t i = 0; i < COUNT(replies); i++) {
        struct nftlist list = { 0 };
        char have[3] = "";

        assert_int_equal(nftlist_parse(&list, replies[i].text), 0);
        for (int n = 0; n < 2; n++) {
            if (nftlist_has(&list, &items[n]))
                strcat(have, n == 0 ? "4" : "6");
        }
        if (strcmp(have, replies[i].have) != 0)
            fail_msg("%s: has %s", replies[i].name, have);
        nftlist_close(&list);
    }
}

static void rules_for_a_range_are_found_by_the_whole_of_it(void **state)
{
    static const struct {
        const char *rule;
        bool has;
    } cases[] = {
        { "socket transparent 1 tcp sport 8000-8099 meta mark set 0x7b\n", true },
        { "socket transparent 1 tcp sport 1-65535 meta mark set 0x7b\n", true },
        { "socket transparent 1 tcp sport 8000-8098 meta mark set 0x7b\n", false },
        { "socket transparent 1 tcp sport 8001-8099 meta mark set 0x7b\n", false },
        { "socket transparent 1 tcp sport 8000 meta mark set 0x7b\n", false },
        { "socket transparent 1 meta mark set 0x7b\n", true },
    };
    struct wanted_item item = {
        .kind = WANTED_MARK_REPLIES, .family = AF_INET, .mark = 123, .last_port = 8099
    };

    (void)state;
    item.source = support_addr("172.18.0.2:8000");
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct nftlist list = { 0 };
        char text[512];
        snprintf(text, sizeof text, IN_PRE("%s"), cases[i].rule);
        assert_int_equal(nftlist_parse(&list, text), 0);
        if (nftlist_has(&list, &item) != cases[i].has)
            fail_msg("%s", cases[i].rule);
        nftlist_close(&list);
    }
}

#define RECORD                                                           \
    "chain r {\ntype filter hook output priority -160; policy accept;\n" \
    "meta mark 0x0000007b update @s { ip saddr . udp sport . udp dport }\n}\n"
#define FLOW                 "ip daddr . udp dport . udp sport @s "
#define UPDATE               "update @s { ip daddr . udp dport . udp sport } "
#define SET_MARK             "meta mark set 0x0000007b\n"
#define FLOWS(records, rule) "table inet x {\n" records OUT("route") rule "}\n}\n"

static const struct {
    const char *name;
    const char *text;
    bool has;
} flows[] = {
    { "as ours", FLOWS(RECORD, FLOW UPDATE SET_MARK), true },
    { "flows that a reply does not keep", FLOWS(RECORD, FLOW SET_MARK), true },
    { "nothing fills the set", FLOWS("", FLOW UPDATE SET_MARK), false },
    { "nothing marks", FLOWS(RECORD, ""), false },
    { "every flow, ours or not", FLOWS(RECORD, SET_MARK), false },
    { "another set is filled", FLOWS(RECORD, "ip daddr . udp dport . udp sport @t " SET_MARK),
      false },
    { "the direction of a datagram of ours",
      FLOWS(RECORD, "ip saddr . udp sport . udp dport @s " SET_MARK), false },
    { "another mark", FLOWS(RECORD, FLOW "meta mark set 0x0000007c\n"), false },
    { "in two tables", FLOWS(RECORD, "") FLOWS("", FLOW SET_MARK), false },
    { "more conditions", FLOWS(RECORD, "oif \"eth0\" " FLOW SET_MARK), false },
    { "a chain that does not route anew",
      "table inet x {\n" RECORD OUT("filter") FLOW SET_MARK "}\n}\n", false },
};

static void rules_that_mark_what_answers_a_datagram_are_found(void **state)
{
    const struct wanted_item v4 = {
        .kind = WANTED_MARK_FLOWS, .family = AF_INET, .mark = 123, .timeout_s = 65
    };
    struct wanted_item v6 = v4;

    (void)state;
    v6.family = AF_INET6;
    for (size_t i = 0; i < COUNT(flows); i++) {
        struct nftlist list = { 0 };

        assert_int_equal(nftlist_parse(&list, flows[i].text), 0);
        if (nftlist_has(&list, &v4) != flows[i].has || nftlist_has(&list, &v6))
            fail_msg("%s", flows[i].name);
        nftlist_close(&list);
    }
}

static void our_own_table_is_reported_from_others(void **state)
{
    const struct wanted_item save = support_item(WANTED_SAVE_MARK, AF_INET, 123, 0);
    const struct wanted_item restore = support_item(WANTED_RESTORE_MARK, AF_INET6, 123, 0);
    struct nftlist list = { 0 };

    (void)state;
    assert_int_equal(nftlist_parse(&list, "table inet mmproxy {\n" PRE("-150") SAVE
                                   "}\n}\n"
                                   "table inet mmproxy2 {\n" OUT("route") RESTORE "}\n}\n"),
                     0);
    assert_true(nftlist_has_of(&list, true, &save));
    assert_false(nftlist_has_of(&list, false, &save));
    assert_true(nftlist_has_of(&list, false, &restore));
    assert_false(nftlist_has_of(&list, true, &restore));
    nftlist_close(&list);
}

static void very_long_lines_are_no_rule_and_do_no_harm(void **state)
{
    struct nftlist list = { 0 };
    char *text = malloc(100000);

    (void)state;
    strcpy(text, "table inet x {\n" PRE("-150") "meta mark 123 ");
    memset(text + strlen(text), 'x', 99000 - strlen(text));
    strcpy(text + 99000, " ct mark set meta mark\n");
    assert_int_equal(nftlist_parse(&list, text), 0);
    assert_int_equal(list.n_items, 0);
    free(text);
    nftlist_close(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_the_same_as_the_iptables_rules_is_found),
        cmocka_unit_test(our_own_table_is_reported_from_others),
        cmocka_unit_test(rules_that_mark_a_target_s_replies_are_found),
        cmocka_unit_test(rules_for_a_range_are_found_by_the_whole_of_it),
        cmocka_unit_test(rules_that_mark_what_answers_a_datagram_are_found),
        cmocka_unit_test(very_long_lines_are_no_rule_and_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
