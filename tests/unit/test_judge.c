/* SPDX-License-Identifier: BSD-2-Clause */
#include "routing_support.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include "mmproxy/routing/wanted/judge.h"

/* Rules as the kernel would tell them; the tests change what matters. */
static struct rtnl_rule lookup(uint32_t priority, uint32_t table)
{
    return (struct rtnl_rule){
        .family = AF_INET,
        .action = FR_ACT_TO_TBL,
        .priority = priority,
        .table = table,
        .suppress_len = -1,
    };
}

static struct rtnl_rule marked(uint32_t priority, uint32_t mark, uint32_t mask, uint32_t table)
{
    struct rtnl_rule rule = lookup(priority, table);

    rule.mark = mark;
    rule.mask = mask;
    return rule;
}

static struct rtnl_rule from_loopback(uint32_t priority, uint8_t len, uint32_t table)
{
    struct rtnl_rule rule = lookup(priority, table);

    rule.src[0] = 127;
    rule.src_len = len;
    snprintf(rule.iif, sizeof(rule.iif), "lo");
    return rule;
}

static struct judge_probe answered(uint8_t type, uint32_t table)
{
    return (struct judge_probe){
        .dst = support_host("192.0.2.1"),
        .has_answer = true,
        .answer = { .family = AF_INET, .type = type, .table = table, .oif = 2 },
    };
}

static struct judgement judge_one(const struct wanted_item *item, struct rtnl_rule rule)
{
    struct rtnl_rules rules = { .items = &rule, .n_items = 1 };
    struct judgement judgement;

    judge_rule(item, &rules, NULL, 0, &judgement);
    return judgement;
}

static void assert_serves(const char *name, const struct wanted_item *item, struct rtnl_rule rule,
                          bool serves)
{
    struct judgement judgement = judge_one(item, rule);

    if ((judgement.verdict == JUDGE_HOLDS) != serves)
        fail_msg("%s: verdict is %d", name, (int)judgement.verdict);
}

static void a_rule_by_source_counts_by_its_effect(void **state)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET, 0, 1000);
    struct rtnl_rule rule = from_loopback(500, 8, 1000);

    (void)state;
    assert_serves("127.0.0.0/8", &item, rule, true);
    assert_serves("a wider prefix", &item, from_loopback(500, 4, 1000), true);
    assert_serves("one address", &item, from_loopback(500, 32, 1000), false);
    assert_serves("another table", &item, from_loopback(500, 8, 999), false);
    rule.iif[0] = '\0';
    assert_serves("whatever the interface", &item, rule, true);
    snprintf(rule.iif, sizeof(rule.iif), "eth0");
    assert_serves("another interface", &item, rule, false);
    rule = from_loopback(500, 8, 1000);
    rule.src[1] = 0x00;
    rule.src[0] = 128;
    assert_serves("another prefix", &item, rule, false);
    assert_serves("by a mark that nobody sets", &item, marked(500, 1, UINT32_MAX, 1000), false);
}

static void a_rule_by_mark_counts_by_its_effect(void **state)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET, 123, 100);
    struct rtnl_rule rule = marked(500, 123, UINT32_MAX, 100);

    (void)state;
    assert_serves("the mark", &item, rule, true);
    assert_serves("a mask that has it", &item, marked(500, 0x7b, 0xff, 100), true);
    assert_serves("a mask with another value", &item, marked(500, 0x7a, 0xff, 100), false);
    assert_serves("another mark", &item, marked(500, 124, UINT32_MAX, 100), false);
    rule.invert = true;
    assert_serves("not the mark", &item, rule, false);
    rule = marked(500, 123, UINT32_MAX, 100);
    rule.special = true;
    assert_serves("for one user alone", &item, rule, false);
    rule = marked(500, 123, UINT32_MAX, 100);
    rule.dst_len = 8;
    assert_serves("for some clients alone", &item, rule, false);
    rule = marked(500, 123, UINT32_MAX, 100);
    rule.suppress_len = 0;
    assert_serves("without default routes", &item, rule, false);
    rule = marked(500, 123, UINT32_MAX, 100);
    rule.ip_protocol = IPPROTO_TCP;
    assert_serves("for TCP", &item, rule, true);
    rule.ip_protocol = IPPROTO_UDP;
    assert_serves("for UDP", &item, rule, false);
    rule = marked(500, 123, UINT32_MAX, 100);
    rule.action = FR_ACT_BLACKHOLE;
    assert_serves("blackhole", &item, rule, false);
    rule = marked(500, 123, UINT32_MAX, 100);
    rule.family = AF_INET6;
    assert_serves("the other family", &item, rule, false);
}

static void a_rule_that_is_not_there_is_missing(void **state)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET, 123, 100);
    struct judgement judgement = judge_one(&item, lookup(32766, RT_TABLE_MAIN));

    (void)state;
    assert_int_equal(judgement.verdict, JUDGE_MISSING);
    assert_int_equal(judgement.n_mends, 0);
}

static struct judgement judge_behind(struct rtnl_rule earlier, struct judge_probe probe,
                                     const struct wanted_item *item)
{
    struct rtnl_rule items[] = { lookup(0, RT_TABLE_LOCAL), earlier,
                                 marked(500, 123, UINT32_MAX, 100), lookup(32766, RT_TABLE_MAIN) };
    struct rtnl_rules rules = { .items = items, .n_items = COUNT(items) };
    struct judgement judgement;

    judge_rule(item, &rules, &probe, 1, &judgement);
    return judgement;
}

static void a_vpn_that_came_later_shadows_the_rule(void **state)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET, 123, 100);
    struct rtnl_rule vpn = marked(499, 0xca6c, UINT32_MAX, 51820);
    struct judgement judgement;

    (void)state;
    vpn.invert = true; /* wg-quick: not fwmark 0xca6c lookup 51820 */
    judgement = judge_behind(vpn, answered(RTN_UNICAST, 51820), &item);
    assert_int_equal(judgement.verdict, JUDGE_SHADOWED);
    assert_int_equal(judgement.priority, 499);
    assert_int_equal(judgement.n_mends, 1);
    assert_string_equal(judgement.mends[0], "ip rule add fwmark 123 lookup 100 priority 498");
    assert_string_equal(judgement.reason, "rule 499 (not from all fwmark 0xca6c lookup 51820) "
                                          "comes before it and takes the replies");
}

static void an_earlier_rule_that_takes_nothing_does_no_harm(void **state)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET, 123, 100);
    struct rtnl_rule suppressed = lookup(400, RT_TABLE_MAIN);
    struct judge_probe missing_route = answered(RTN_UNICAST, RT_TABLE_MAIN);

    (void)state;
    assert_int_equal(judge_behind(lookup(400, 52), answered(RTN_LOCAL, 100), &item).verdict,
                     JUDGE_HOLDS);
    assert_int_equal(judge_behind(marked(400, 1, 1, 52), answered(RTN_UNICAST, 254), &item).verdict,
                     JUDGE_HOLDS);
    /* Our route is missing, the reply falls through to main's default route: not its fault. */
    suppressed.suppress_len = 0;
    assert_int_equal(judge_behind(suppressed, missing_route, &item).verdict, JUDGE_HOLDS);
    missing_route.answer.dst_len = 24;
    assert_int_equal(judge_behind(suppressed, missing_route, &item).verdict, JUDGE_SHADOWED);
}

static void an_earlier_rule_for_some_clients_shadows_it_for_those(void **state)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET, 123, 100);
    struct rtnl_rule rule = lookup(400, 200);
    struct judge_probe probe = answered(RTN_UNICAST, 200);
    struct judgement judgement;

    (void)state;
    rule.dst_len = 24;
    memcpy(rule.dst, (uint8_t[]){ 198, 51, 100, 0 }, 4);
    assert_int_equal(judge_behind(rule, answered(RTN_LOCAL, 100), &item).verdict, JUDGE_HOLDS);
    probe.dst = support_host("198.51.100.1");
    judgement = judge_behind(rule, probe, &item);
    assert_int_equal(judgement.verdict, JUDGE_SHADOWED);
    assert_non_null(strstr(judgement.reason, "from all to 198.51.100.0/24 lookup 200"));
}

static void a_rule_for_all_but_some_clients_applies_to_some_address(void **state)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET, 123, 100);
    struct addr inside = support_host("192.0.2.1");
    struct addr outside = support_host("64.0.2.1");
    struct rtnl_rule rule = lookup(400, 200);

    (void)state;
    rule.invert = true;
    assert_false(judge_rule_applies(&rule, &item, NULL));
    rule.dst_len = 2;
    memcpy(rule.dst, (uint8_t[]){ 192, 0, 0, 0 }, 4);
    assert_true(judge_rule_applies(&rule, &item, NULL));
    assert_false(judge_rule_applies(&rule, &item, &inside));
    assert_true(judge_rule_applies(&rule, &item, &outside));
}

static void an_earlier_rule_that_refuses_shadows_it(void **state)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET, 123, 100);
    struct rtnl_rule rule = lookup(1, 0);
    struct judge_probe probe = { .dst = support_host("192.0.2.1"), .error = -EACCES };
    struct judgement judgement;

    (void)state;
    rule.action = FR_ACT_PROHIBIT;
    judgement = judge_behind(rule, probe, &item);
    assert_int_equal(judgement.verdict, JUDGE_SHADOWED);
    assert_string_equal(judgement.mends[0], "ip rule add fwmark 123 lookup 100 priority 0");
    rule.priority = 0;
    judgement = judge_behind(rule, probe, &item);
    assert_int_equal(judgement.verdict, JUDGE_SHADOWED);
    assert_int_equal(judgement.n_mends, 0); /* nothing can come before it */
}

static struct rtnl_route local_route(uint32_t metric)
{
    return (struct rtnl_route){
        .family = AF_INET, .type = RTN_LOCAL, .table = 100, .oif = 1, .metric = metric
    };
}

static struct rtnl_route gateway_route(uint32_t metric)
{
    return (struct rtnl_route){ .family = AF_INET,
                                .type = RTN_UNICAST,
                                .table = 100,
                                .metric = metric,
                                .has_gateway = true,
                                .gateway_family = AF_INET,
                                .gateway = { 10, 0, 0, 1 } };
}

static struct judgement judge_routes(const struct rtnl_route *items, size_t n)
{
    struct wanted_item item = support_item(WANTED_ROUTE, AF_INET, 0, 100);
    struct rtnl_route copy[4];
    struct rtnl_routes routes = { .items = copy, .n_items = n };
    struct judgement judgement;

    memcpy(copy, items, n * sizeof(*items));
    judge_route(&item, &routes, NULL, 0, &judgement);
    return judgement;
}

static void the_local_route_of_the_table_counts(void **state)
{
    struct rtnl_route route = local_route(0);

    (void)state;
    assert_int_equal(judge_routes(&route, 1).verdict, JUDGE_HOLDS);
    route.table = 101;
    assert_int_equal(judge_routes(&route, 1).verdict, JUDGE_MISSING);
    route = local_route(0);
    route.dst_len = 8;
    assert_int_equal(judge_routes(&route, 1).verdict, JUDGE_MISSING);
    assert_int_equal(judge_routes(&route, 0).verdict, JUDGE_MISSING);
}

static void a_wrong_route_in_its_place_is_removed_first(void **state)
{
    struct rtnl_route route = gateway_route(0);
    struct judgement judgement = judge_routes(&route, 1);

    (void)state;
    assert_int_equal(judgement.verdict, JUDGE_WRONG);
    assert_int_equal(judgement.n_mends, 2);
    assert_string_equal(judgement.mends[0], "ip route del default via 10.0.0.1 table 100");
    assert_string_equal(judgement.mends[1], "ip route add local 0.0.0.0/0 dev lo table 100");
}

static void a_better_route_beside_ours_is_wrong_and_a_worse_one_is_not(void **state)
{
    struct rtnl_route better[] = { gateway_route(5), local_route(10) };
    struct rtnl_route worse[] = { local_route(0), gateway_route(5) };
    struct judgement judgement = judge_routes(better, 2);

    (void)state;
    assert_int_equal(judgement.verdict, JUDGE_WRONG);
    assert_int_equal(judgement.n_mends, 1);
    assert_string_equal(judgement.mends[0], "ip route del default via 10.0.0.1 table 100 metric 5");
    assert_int_equal(judge_routes(worse, 2).verdict, JUDGE_HOLDS);
}

static void a_narrower_route_that_takes_the_test_client_is_wrong(void **state)
{
    struct wanted_item item = support_item(WANTED_ROUTE, AF_INET, 0, 100);
    struct rtnl_route own = local_route(0);
    struct rtnl_routes routes = { .items = &own, .n_items = 1 };
    struct judge_probe probe = answered(RTN_UNICAST, 100);
    struct judgement judgement;

    (void)state;
    probe.answer = gateway_route(0);
    probe.answer.dst_len = 1;
    probe.answer.dst[0] = 128;
    judge_route(&item, &routes, &probe, 1, &judgement);
    assert_int_equal(judgement.verdict, JUDGE_WRONG);
    assert_string_equal(judgement.mends[0], "ip route del 128.0.0.0/1 via 10.0.0.1 table 100");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_by_source_counts_by_its_effect),
        cmocka_unit_test(a_rule_by_mark_counts_by_its_effect),
        cmocka_unit_test(a_rule_that_is_not_there_is_missing),
        cmocka_unit_test(a_vpn_that_came_later_shadows_the_rule),
        cmocka_unit_test(an_earlier_rule_that_takes_nothing_does_no_harm),
        cmocka_unit_test(an_earlier_rule_for_some_clients_shadows_it_for_those),
        cmocka_unit_test(a_rule_for_all_but_some_clients_applies_to_some_address),
        cmocka_unit_test(an_earlier_rule_that_refuses_shadows_it),
        cmocka_unit_test(the_local_route_of_the_table_counts),
        cmocka_unit_test(a_wrong_route_in_its_place_is_removed_first),
        cmocka_unit_test(a_better_route_beside_ours_is_wrong_and_a_worse_one_is_not),
        cmocka_unit_test(a_narrower_route_that_takes_the_test_client_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
