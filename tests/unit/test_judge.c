/* SPDX-License-Identifier: BSD-2-Clause */
#include "judge_support.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include "mmproxy/routing/wanted/iptext.h"
#include "mmproxy/routing/wanted/judge.h"

static struct rtnl_rule from_loopback(uint32_t priority, uint8_t len, uint32_t table)
{
    struct rtnl_rule rule = lookup(priority, table);

    rule.src[0] = 127;
    rule.src_len = len;
    snprintf(rule.iif, sizeof(rule.iif), "lo");
    return rule;
}

/* Everything that the kernel has, and the replies of one target on loopback. */
struct world {
    struct rtnl_rule rules[32];
    struct rtnl_route routes[32];
    struct rtnl_rules all_rules;
    struct rtnl_routes all_routes;
    struct wanted_reply reply;
};

static void add_rule(struct world *world, struct rtnl_rule rule)
{
    assert_true(world->all_rules.n_items < COUNT(world->rules));
    world->all_rules.items = world->rules;
    world->rules[world->all_rules.n_items++] = rule;
}

static void add_route(struct world *world, struct rtnl_route route)
{
    assert_true(world->all_routes.n_items < COUNT(world->routes));
    world->all_routes.items = world->routes;
    world->routes[world->all_routes.n_items++] = route;
}

static struct judgement judge_world(struct world *world, const struct wanted_item *item)
{
    struct judge_kernel kernel = { .rules = &world->all_rules, .routes = &world->all_routes };
    struct wanted wanted = { .replies = &world->reply, .n_replies = 1 };
    struct judgement judgement;

    if (!addr_is_set(&world->reply.source))
        world->reply.source = support_addr(item->family == AF_INET6 ? "[::1]:22" : "127.0.0.1:22");
    world->reply.mark = item->mark;
    world->reply.table = item->table;
    judge_rule(item, &kernel, &wanted, &judgement);
    return judgement;
}

static struct judgement judge_one(const struct wanted_item *item, struct rtnl_rule rule)
{
    struct world world = { 0 };

    add_rule(&world, rule);
    return judge_world(&world, item);
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
    assert_serves("another address", &item, from_loopback(500, 32, 1000), false);
    rule = from_loopback(500, 32, 1000);
    rule.src[3] = 1;
    assert_serves("the target's address alone", &item, rule, true);
    rule = from_loopback(500, 8, 1000);
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
    assert_serves("for some packets alone", &item, rule, false);
    rule = marked(500, 123, UINT32_MAX, 100);
    rule.has_uids = true;
    rule.first_uid = rule.last_uid = 1000;
    assert_serves("for another user alone", &item, rule, false);
    rule.first_uid = 0;
    assert_serves("for the service's user", &item, rule, true);
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
}

static void a_rule_that_is_not_there_is_missing(void **state)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET, 123, 100);
    struct judgement judgement = judge_one(&item, lookup(32766, RT_TABLE_MAIN));

    (void)state;
    assert_int_equal(judgement.verdict, JUDGE_MISSING);
    assert_int_equal(judgement.n_commands, 0);
}

/* Our rule of mark 123 at priority 500, behind those that world has; table 200 has a default. */
static struct judgement judge_behind(struct world *world)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET, 123, 100);

    add_rule(world, marked(500, 123, UINT32_MAX, 100));
    add_rule(world, lookup(32766, RT_TABLE_MAIN));
    add_route(world, local_route(0));
    add_route(world, unicast(200, "0.0.0.0", 0));
    return judge_world(world, &item);
}

static struct judgement judge_behind_one(struct rtnl_rule earlier)
{
    struct world world = { 0 };

    add_rule(&world, lookup(0, RT_TABLE_LOCAL));
    add_rule(&world, earlier);
    return judge_behind(&world);
}

static void a_vpn_that_came_later_shadows_the_rule(void **state)
{
    struct rtnl_rule vpn = marked(499, 0xca6c, UINT32_MAX, 200);
    struct judgement judgement;

    (void)state;
    vpn.invert = true; /* wg-quick: not fwmark 0xca6c lookup 200 */
    judgement = judge_behind_one(vpn);
    assert_int_equal(judgement.verdict, JUDGE_SHADOWED);
    assert_int_equal(judgement.priority, 499);
    assert_int_equal(judgement.n_commands, 1);
    assert_string_equal(judgement.commands[0], "ip rule add fwmark 123 lookup 100 priority 498");
    assert_string_equal(judgement.reason, "rule 499 (not from all fwmark 0xca6c lookup 200) "
                                          "comes before it and takes the replies");
}

/* Each is before ours: which verdict, and is there a note? */
static void an_earlier_rule_counts_by_what_it_takes(void **state)
{
    struct rtnl_rule rule = lookup(400, 200);
    const struct {
        const char *name;
        struct rtnl_rule rule;
        enum judge_verdict verdict;
        bool is_noted;
    } cases[] = {
        { "everything", rule, JUDGE_SHADOWED, false },
        { "an empty table", lookup(400, 52), JUDGE_HOLDS, false },
        { "a mark of others", marked(400, 1, 1, 200), JUDGE_SHADOWED, false }, /* 123 has bit 1 */
        { "another mark", marked(400, 4, 0xff, 200), JUDGE_HOLDS, false },
        { "to public clients", to(rule, "198.51.100.0", 24), JUDGE_SHADOWED, false },
        { "to private clients", to(rule, "10.1.0.0", 16), JUDGE_SHADOWED, false },
        { "to loopback", to(rule, "127.0.0.0", 8), JUDGE_HOLDS, false },
        { "to multicast", to(rule, "224.0.0.0", 4), JUDGE_HOLDS, false },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct judgement judgement = judge_behind_one(cases[i].rule);

        if (judgement.verdict != cases[i].verdict ||
            (judgement.note[0] != '\0') != cases[i].is_noted)
            fail_msg("%s: verdict %d, note %s", cases[i].name, (int)judgement.verdict,
                     judgement.note);
    }
}

static void selectors_that_no_reply_meets_do_no_harm(void **state)
{
    struct rtnl_rule rule = lookup(400, 200);

    (void)state;
    snprintf(rule.iif, sizeof rule.iif, "eth0");
    assert_int_equal(judge_behind_one(rule).verdict, JUDGE_HOLDS);
    rule = lookup(400, 200);
    snprintf(rule.oif, sizeof rule.oif, "eth0");
    assert_int_equal(judge_behind_one(rule).verdict, JUDGE_HOLDS);
    rule = lookup(400, 200);
    rule.ip_protocol = IPPROTO_UDP;
    assert_int_equal(judge_behind_one(rule).verdict, JUDGE_HOLDS);
    rule = lookup(400, 200);
    rule.is_l3mdev = true;
    assert_int_equal(judge_behind_one(rule).verdict, JUDGE_HOLDS);
    rule = lookup(400, 200);
    rule.has_uids = true;
    rule.first_uid = rule.last_uid = 1000;
    assert_int_equal(judge_behind_one(rule).verdict, JUDGE_HOLDS);
    rule.first_uid = 0;
    assert_int_equal(judge_behind_one(rule).verdict, JUDGE_SHADOWED);
    rule = lookup(400, 200);
    rule.first_sport = 23;
    rule.last_sport = 80;
    assert_int_equal(judge_behind_one(rule).verdict, JUDGE_HOLDS);
    rule.first_sport = 22;
    assert_int_equal(judge_behind_one(rule).verdict, JUDGE_SHADOWED);
    rule = lookup(400, 200);
    rule.src_len = 32;
    rule.src[0] = 10;
    assert_int_equal(judge_behind_one(rule).verdict, JUDGE_HOLDS);
}

/* Outgoing HTTPS through a VPN: clients' ports are no such ports. */
static void what_may_or_may_not_apply_is_noted(void **state)
{
    struct rtnl_rule rule = lookup(400, 200);
    struct judgement judgement;

    (void)state;
    rule.first_dport = rule.last_dport = 443;
    judgement = judge_behind_one(rule);
    assert_int_equal(judgement.verdict, JUDGE_HOLDS);
    assert_non_null(strstr(judgement.note, "rule 400 (from all dport 443 lookup 200)"));
    assert_string_equal(judgement.commands[0], "ip rule add fwmark 123 lookup 100 priority 399");
    rule.last_dport = 65535;
    assert_int_equal(judge_behind_one(rule).verdict, JUDGE_SHADOWED);
    rule = lookup(400, 200);
    rule.tos = 0x10;
    judgement = judge_behind_one(rule);
    assert_int_equal(judgement.verdict, JUDGE_HOLDS);
    assert_non_null(strstr(judgement.note, "tos 0x10"));
}

static void private_networks_that_a_table_has_are_noted(void **state)
{
    struct world world = { 0 };
    struct judgement judgement;

    (void)state;
    add_rule(&world, lookup(0, RT_TABLE_LOCAL));
    add_rule(&world, lookup(400, 52)); /* Tailscale's */
    add_route(&world, unicast(52, "100.64.0.0", 10));
    judgement = judge_behind(&world);
    assert_int_equal(judgement.verdict, JUDGE_HOLDS);
    assert_string_equal(judgement.note,
                        "Replies to clients in 100.64.0.0/10 may not come back: rule 400 (from all "
                        "lookup 52) comes before ours. If there are such clients:");
    assert_int_equal(judgement.n_commands, 1);
}

static void suppressed_routes_take_nothing(void **state)
{
    struct world world = { 0 };
    struct rtnl_rule rule = lookup(400, 200);
    struct rtnl_route narrow = unicast(200, "198.51.100.0", 24);

    (void)state;
    rule.suppress_len = 0;
    add_rule(&world, rule);
    assert_int_equal(judge_behind(&world).verdict, JUDGE_HOLDS);
    world = (struct world){ 0 };
    add_rule(&world, rule);
    add_route(&world, narrow);
    assert_int_equal(judge_behind(&world).verdict, JUDGE_SHADOWED);
    world = (struct world){ 0 };
    rule.suppress_len = 24;
    add_rule(&world, rule);
    add_route(&world, narrow);
    assert_int_equal(judge_behind(&world).verdict, JUDGE_HOLDS);
}

/* Two halves of the world are what some VPNs add. */
static void halves_of_the_world_count_like_a_default_route(void **state)
{
    struct world world = { 0 };

    (void)state;
    add_rule(&world, lookup(400, 52));
    add_route(&world, unicast(52, "128.0.0.0", 1));
    assert_int_equal(judge_behind(&world).verdict, JUDGE_SHADOWED);
}

static void what_a_table_throws_or_delivers_is_not_taken(void **state)
{
    struct world world = { 0 };
    struct rtnl_route throw_all = unicast(52, "0.0.0.0", 1);
    struct rtnl_route local_half = unicast(52, "128.0.0.0", 1);
    struct rtnl_route worse = unicast(52, "128.0.0.0", 1);

    (void)state;
    throw_all.type = RTN_THROW;
    local_half.type = RTN_LOCAL;
    worse.metric = 5;
    add_rule(&world, lookup(400, 52));
    add_route(&world, throw_all);
    add_route(&world, local_half);
    add_route(&world, worse);
    add_route(&world, unicast(52, "0.0.0.0", 0)); /* for nobody is left */
    assert_int_equal(judge_behind(&world).verdict, JUDGE_HOLDS);
    local_half.metric = 9;
    world.routes[1] = local_half;
    world.all_rules.n_items = 1;
    assert_int_equal(judge_behind(&world).verdict, JUDGE_SHADOWED);
}

/* Reported: seven rules for some destinations hid the eighth. */
static void the_ninth_of_many_rules_for_some_clients_is_found(void **state)
{
    struct world world = { 0 };
    struct judgement judgement;
    char host[32];

    (void)state;
    add_rule(&world, lookup(0, RT_TABLE_LOCAL));
    for (unsigned i = 0; i < 20; i++) {
        snprintf(host, sizeof host, "203.0.%u.0", i);
        add_rule(&world, to(lookup(300 + i, 52), host, 24)); /* no route there */
    }
    add_rule(&world, to(lookup(400, 200), "198.51.100.0", 24));
    judgement = judge_behind(&world);
    assert_int_equal(judgement.verdict, JUDGE_SHADOWED);
    assert_int_equal(judgement.priority, 400);
}

static void a_rule_for_all_but_some_clients_shadows_it_for_the_others(void **state)
{
    struct rtnl_rule rule = to(lookup(400, 200), "192.0.0.0", 2);

    (void)state;
    rule.invert = true;
    assert_int_equal(judge_behind_one(rule).verdict, JUDGE_SHADOWED);
    rule.dst_len = 0;
    assert_int_equal(judge_behind_one(rule).verdict, JUDGE_HOLDS); /* applies to nobody */
}

static void a_goto_is_followed(void **state)
{
    struct world world = { 0 };
    struct rtnl_rule jump = lookup(100, 0);
    struct judgement judgement;

    (void)state;
    jump.action = FR_ACT_GOTO;
    jump.goto_priority = 500;
    add_rule(&world, jump);
    add_rule(&world, lookup(400, 200)); /* jumped over */
    assert_int_equal(judge_behind(&world).verdict, JUDGE_HOLDS);
    world = (struct world){ 0 };
    jump.goto_priority = 32766;
    add_rule(&world, jump);
    judgement = judge_behind(&world);
    assert_int_equal(judgement.verdict, JUDGE_SHADOWED);
    assert_int_equal(judgement.priority, 100);
    assert_non_null(strstr(judgement.reason, "(from all goto 32766)"));
    world = (struct world){ 0 };
    jump.unresolved = true;
    add_rule(&world, jump);
    assert_int_equal(judge_behind(&world).verdict, JUDGE_HOLDS);
    world = (struct world){ 0 };
    jump.unresolved = false;
    add_rule(&world, to(jump, "198.51.100.0", 24)); /* for some clients alone */
    assert_int_equal(judge_behind(&world).verdict, JUDGE_SHADOWED);
}

static void an_earlier_rule_that_refuses_shadows_it(void **state)
{
    struct rtnl_rule rule = lookup(1, 0);
    struct judgement judgement;

    (void)state;
    rule.action = FR_ACT_PROHIBIT;
    judgement = judge_behind_one(rule);
    assert_int_equal(judgement.verdict, JUDGE_SHADOWED);
    assert_string_equal(judgement.commands[0], "ip rule add fwmark 123 lookup 100 priority 0");
    rule.priority = 0; /* nothing can come before it, so it goes behind ours */
    judgement = judge_behind_one(rule);
    assert_int_equal(judgement.verdict, JUDGE_SHADOWED);
    assert_int_equal(judgement.n_commands, 2);
    assert_string_equal(judgement.commands[0], "ip rule add from all prohibit priority 501");
    assert_string_equal(judgement.commands[1], "ip rule del from all prohibit priority 0");
}

/* A rule for some users counts by the user of the socket that listens. */
static void the_user_of_the_service_counts(void **state)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET, 123, 100);
    struct rtnl_rule rules[] = { lookup(400, 200), marked(500, 123, UINT32_MAX, 100) };
    struct rtnl_route route = unicast(200, "0.0.0.0", 0);
    struct rtnl_rules all_rules = { rules, COUNT(rules) };
    struct rtnl_routes all_routes = { &route, 1 };
    uint32_t uid = 33;
    struct judge_kernel kernel = { &all_rules, &all_routes, &uid };
    struct wanted_reply reply = { .source = support_addr("127.0.0.1:80"),
                                  .mark = 123,
                                  .table = 100 };
    struct wanted wanted = { .replies = &reply, .n_replies = 1 };
    struct judgement judgement;

    (void)state;
    rules[0].has_uids = true;
    rules[0].first_uid = rules[0].last_uid = 33;
    judge_rule(&item, &kernel, &wanted, &judgement);
    assert_int_equal(judgement.verdict, JUDGE_SHADOWED);
    uid = 0;
    judge_rule(&item, &kernel, &wanted, &judgement);
    assert_int_equal(judgement.verdict, JUDGE_HOLDS);
}

/* One item is for several targets: what hides the replies of one of them counts. */
static void every_target_of_the_item_counts(void **state)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET, 0, 100);
    struct rtnl_rule rules[] = { lookup(400, 200), from_loopback(500, 8, 100) };
    struct rtnl_route route = unicast(200, "0.0.0.0", 0);
    struct rtnl_rules all_rules = { rules, COUNT(rules) };
    struct rtnl_routes all_routes = { &route, 1 };
    struct judge_kernel kernel = { .rules = &all_rules, .routes = &all_routes };
    struct wanted_reply replies[] = {
        { .source = support_addr("127.0.0.1:22"), .table = 100 },
        { .source = support_addr("127.0.0.2:25"), .table = 100 },
    };
    struct wanted wanted = { .replies = replies, .n_replies = 1 };
    struct judgement judgement;

    (void)state;
    rules[0].src_len = 32;
    memcpy(rules[0].src, (uint8_t[]){ 127, 0, 0, 2 }, 4);
    judge_rule(&item, &kernel, &wanted, &judgement);
    assert_int_equal(judgement.verdict, JUDGE_HOLDS);
    wanted.n_replies = 2;
    judge_rule(&item, &kernel, &wanted, &judgement);
    assert_int_equal(judgement.verdict, JUDGE_SHADOWED);
}

static void a_rule_is_written_as_ip_takes_it(void **state)
{
    struct rtnl_rule rule = to(marked(1, 0x7b, 0xff, 200), "198.51.100.0", 24);
    char text[IPTEXT_RULE_MAX];

    (void)state;
    rule.src_len = 32;
    memcpy(rule.src, (uint8_t[]){ 127, 0, 0, 1 }, 4);
    snprintf(rule.iif, sizeof rule.iif, "lo");
    rule.has_uids = true;
    rule.last_uid = 99;
    rule.ip_protocol = IPPROTO_TCP;
    rule.first_sport = 22;
    rule.last_sport = 23;
    rule.first_dport = rule.last_dport = 443;
    rule.suppress_len = 0;
    assert_string_equal(iptext_rule(&rule, text),
                        "from 127.0.0.1 to 198.51.100.0/24 fwmark 0x7b/0xff iif lo uidrange 0-99 "
                        "ipproto tcp sport 22-23 dport 443 lookup 200 suppress_prefixlength 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_by_source_counts_by_its_effect),
        cmocka_unit_test(a_rule_by_mark_counts_by_its_effect),
        cmocka_unit_test(a_rule_that_is_not_there_is_missing),
        cmocka_unit_test(a_vpn_that_came_later_shadows_the_rule),
        cmocka_unit_test(an_earlier_rule_counts_by_what_it_takes),
        cmocka_unit_test(selectors_that_no_reply_meets_do_no_harm),
        cmocka_unit_test(what_may_or_may_not_apply_is_noted),
        cmocka_unit_test(private_networks_that_a_table_has_are_noted),
        cmocka_unit_test(suppressed_routes_take_nothing),
        cmocka_unit_test(halves_of_the_world_count_like_a_default_route),
        cmocka_unit_test(what_a_table_throws_or_delivers_is_not_taken),
        cmocka_unit_test(the_ninth_of_many_rules_for_some_clients_is_found),
        cmocka_unit_test(a_rule_for_all_but_some_clients_shadows_it_for_the_others),
        cmocka_unit_test(a_goto_is_followed),
        cmocka_unit_test(an_earlier_rule_that_refuses_shadows_it),
        cmocka_unit_test(the_user_of_the_service_counts),
        cmocka_unit_test(every_target_of_the_item_counts),
        cmocka_unit_test(a_rule_is_written_as_ip_takes_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
