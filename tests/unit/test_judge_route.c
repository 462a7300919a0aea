/* SPDX-License-Identifier: BSD-2-Clause */
#include "judge_support.h"

static struct judgement judge_routes(const struct rtnl_route *items, size_t n)
{
    struct wanted_item item = support_item(WANTED_ROUTE, AF_INET, 0, 100);
    struct rtnl_route copy[8];
    struct rtnl_routes routes = { .items = copy, .n_items = n };
    struct judge_kernel kernel = { .routes = &routes };
    struct judgement judgement;

    memcpy(copy, items, n * sizeof(*items));
    judge_route(&item, &kernel, &judgement);
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
    assert_int_equal(judgement.n_commands, 2);
    assert_string_equal(judgement.commands[0], "ip route del default via 10.0.0.1 table 100");
    assert_string_equal(judgement.commands[1], "ip route add local 0.0.0.0/0 dev lo table 100");
}

static void a_better_route_beside_ours_is_wrong_and_a_worse_one_is_not(void **state)
{
    struct rtnl_route better[] = { gateway_route(5), local_route(10) };
    struct rtnl_route worse[] = { local_route(0), gateway_route(5) };
    struct judgement judgement = judge_routes(better, 2);

    (void)state;
    assert_int_equal(judgement.verdict, JUDGE_WRONG);
    assert_int_equal(judgement.n_commands, 1);
    assert_string_equal(judgement.commands[0],
                        "ip route del default via 10.0.0.1 table 100 metric 5");
    assert_int_equal(judge_routes(worse, 2).verdict, JUDGE_HOLDS);
}

static void a_route_that_ours_will_beat_is_not_wrong(void **state)
{
    struct rtnl_route worse = gateway_route(5);

    (void)state;
    assert_int_equal(judge_routes(&worse, 1).verdict, JUDGE_MISSING);
}

static void a_narrower_route_that_takes_clients_is_wrong(void **state)
{
    struct rtnl_route routes[] = { local_route(0), gateway_route(0) };
    struct judgement judgement;

    (void)state;
    routes[1].dst_len = 1;
    routes[1].dst[0] = 128;
    judgement = judge_routes(routes, 2);
    assert_int_equal(judgement.verdict, JUDGE_WRONG);
    assert_int_equal(judgement.n_commands, 1);
    assert_string_equal(judgement.commands[0], "ip route del 128.0.0.0/1 via 10.0.0.1 table 100");
    routes[1].type = RTN_THROW;
    assert_int_equal(judge_routes(routes, 2).verdict, JUDGE_WRONG);
    routes[1].dst_len = 8;
    routes[1].dst[0] = 10;
    judgement = judge_routes(routes, 2);
    assert_int_equal(judgement.verdict, JUDGE_HOLDS);
    assert_non_null(strstr(judgement.note, "throw 10.0.0.0/8"));
}

static void many_wrong_routes_go_at_once(void **state)
{
    struct rtnl_route routes[8];
    struct judgement judgement;

    (void)state;
    for (size_t i = 0; i < COUNT(routes); i++) {
        routes[i] = unicast(100, "198.51.100.0", 24);
        routes[i].dst[2] = (uint8_t)i;
    }
    judgement = judge_routes(routes, COUNT(routes));
    assert_int_equal(judgement.verdict, JUDGE_WRONG);
    assert_int_equal(judgement.n_commands, 2);
    assert_string_equal(judgement.commands[0], "ip route flush table 100");
    assert_string_equal(judgement.commands[1], "ip route add local 0.0.0.0/0 dev lo table 100");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_local_route_of_the_table_counts),
        cmocka_unit_test(a_wrong_route_in_its_place_is_removed_first),
        cmocka_unit_test(a_better_route_beside_ours_is_wrong_and_a_worse_one_is_not),
        cmocka_unit_test(a_route_that_ours_will_beat_is_not_wrong),
        cmocka_unit_test(a_narrower_route_that_takes_clients_is_wrong),
        cmocka_unit_test(many_wrong_routes_go_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
