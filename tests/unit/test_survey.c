/* SPDX-License-Identifier: BSD-2-Clause */
/* survey_judge on recorded answers of the kernel. */
#include "judge_support.h"

#include <errno.h>

#include "mmproxy/routing/kernel/survey.h"

/* One connmark listener on 127.0.0.1: what it needs, and a host that has all of it. */
struct world {
    struct wanted wanted;
    struct rtnl_rule rules[3];
    struct rtnl_route routes[1];
    int answers[8];
    struct survey_sight sight;
    struct survey survey;
};

static size_t find(const struct world *world, enum wanted_kind kind)
{
    for (size_t i = 0; i < world->wanted.n_items; i++) {
        if (world->wanted.items[i].kind == kind)
            return i;
    }
    fail_msg("no item of kind %d", (int)kind);
    return 0;
}

static void open_world(struct world *world)
{
    struct listener_config listener =
        support_listener(RETURN_PATH_CONNMARK, "127.0.0.1:22", NULL, 123, 100);
    struct config config = { .listeners = &listener, .n_listeners = 1 };
    struct wanted_host host = { .outbound_v4 = { "eth0" } };

    *world = (struct world){ 0 };
    assert_int_equal(wanted_add(&world->wanted, &config, &host), 0);
    assert_in_range(world->wanted.n_items, 1, COUNT(world->answers));
    world->rules[0] = lookup(0, RT_TABLE_LOCAL);
    world->rules[1] = marked(500, 123, UINT32_MAX, 100);
    world->rules[2] = lookup(32766, RT_TABLE_MAIN);
    world->routes[0] = local_route(0);
    for (size_t i = 0; i < world->wanted.n_items; i++)
        world->answers[i] = 1;
    world->sight.rules[0] = (struct rtnl_rules){ world->rules, COUNT(world->rules) };
    world->sight.routes[0] = (struct rtnl_routes){ world->routes, COUNT(world->routes) };
    world->sight.answers = world->answers;
}

static const struct judgement *judge(struct world *world, enum wanted_kind kind, bool with_marks)
{
    survey_close(&world->survey);
    assert_int_equal(survey_judge(&world->survey, &world->wanted, &world->sight, with_marks), 0);
    return &world->survey.items[find(world, kind)];
}

static void close_world(struct world *world)
{
    survey_close(&world->survey);
    wanted_close(&world->wanted);
}

static void a_host_that_has_everything_holds(void **state)
{
    struct world world;

    (void)state;
    open_world(&world);
    (void)judge(&world, WANTED_RULE, true);
    for (size_t i = 0; i < world.wanted.n_items; i++)
        assert_int_equal(world.survey.items[i].verdict, JUDGE_HOLDS);
    assert_false(world.survey.no_route[0] || world.survey.no_iptables);
    close_world(&world);
}

static void what_iptables_said_is_judged(void **state)
{
    static const struct {
        int answer;
        enum judge_verdict verdict;
        bool no_iptables;
        const char *reason;
    } cases[] = {
        { 1, JUDGE_HOLDS, false, "" },
        { 0, JUDGE_MISSING, false, "" },
        { -ENOENT, JUDGE_MISSING, true, "" },
        { -ETIMEDOUT, JUDGE_UNKNOWN, false, "iptables gives no answer: Connection timed out" },
    };
    struct world world;

    (void)state;
    open_world(&world);
    for (size_t i = 0; i < COUNT(cases); i++) {
        world.answers[find(&world, WANTED_SAVE_MARK)] = cases[i].answer;
        const struct judgement *judgement = judge(&world, WANTED_SAVE_MARK, true);
        assert_int_equal(judgement->verdict, cases[i].verdict);
        assert_string_equal(judgement->reason, cases[i].reason);
        assert_int_equal(world.survey.no_iptables, cases[i].no_iptables);
    }
    assert_int_equal(judge(&world, WANTED_SAVE_MARK, false)->verdict, JUDGE_UNKNOWN);
    close_world(&world);
}

static void nftables_is_enough_without_iptables(void **state)
{
    struct nftlist_mark mark = { .kind = WANTED_SAVE_MARK, .is_v4 = true, .mark = 123 };
    struct world world;

    (void)state;
    open_world(&world);
    world.sight.nft = (struct nftlist){ .items = &mark, .n_items = 1 };
    world.answers[find(&world, WANTED_SAVE_MARK)] = 0;
    assert_int_equal(judge(&world, WANTED_SAVE_MARK, true)->verdict, JUDGE_HOLDS);
    mark.mark = 124;
    assert_int_equal(judge(&world, WANTED_SAVE_MARK, true)->verdict, JUDGE_MISSING);
    close_world(&world);
}

static void a_sysctl_is_judged_by_its_value(void **state)
{
    struct world world;

    (void)state;
    open_world(&world);
    size_t at = find(&world, WANTED_SYSCTL);
    world.answers[at] = 0;
    assert_int_equal(judge(&world, WANTED_SYSCTL, true)->verdict, JUDGE_MISSING);
    world.sight.all_localnet = true; /* for all interfaces */
    assert_int_equal(judge(&world, WANTED_SYSCTL, true)->verdict, JUDGE_HOLDS);
    world.sight.all_localnet = false;
    world.answers[at] = -EACCES;
    assert_int_equal(judge(&world, WANTED_SYSCTL, true)->verdict, JUDGE_UNKNOWN);
    assert_string_equal(world.survey.items[at].reason, "it can't be read: Permission denied");
    close_world(&world);
}

static void rules_and_routes_are_judged_by_family(void **state)
{
    struct world world;

    (void)state;
    open_world(&world);
    world.sight.rules[0].n_items = 1;
    assert_int_equal(judge(&world, WANTED_RULE, false)->verdict, JUDGE_MISSING);
    world.sight.routes[0].n_items = 0;
    assert_int_equal(judge(&world, WANTED_ROUTE, false)->verdict, JUDGE_MISSING);
    world.sight.routes[1] = (struct rtnl_routes){ world.routes, 1 };
    assert_int_equal(judge(&world, WANTED_ROUTE, false)->verdict, JUDGE_MISSING);
    close_world(&world);
}

static void a_host_without_a_default_route_is_reported(void **state)
{
    struct world world;

    (void)state;
    open_world(&world);
    world.sight.lacks_route[0] = true;
    (void)judge(&world, WANTED_RULE, true);
    assert_true(world.survey.no_route[0]);
    assert_false(world.survey.no_route[1]);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_that_has_everything_holds),
        cmocka_unit_test(what_iptables_said_is_judged),
        cmocka_unit_test(nftables_is_enough_without_iptables),
        cmocka_unit_test(a_sysctl_is_judged_by_its_value),
        cmocka_unit_test(rules_and_routes_are_judged_by_family),
        cmocka_unit_test(a_host_without_a_default_route_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
