/* SPDX-License-Identifier: BSD-2-Clause */
#include "netns_support.h"

#include "mmproxy/net/locals.h"

static bool has(const struct locals *locals, const char *host)
{
    struct addr addr = support_host(host);

    return locals_contain(locals, &addr);
}

/* As a worker does: when there is an event, or when it is due. */
static void update(struct locals *locals)
{
    int due_ms = locals_due_ms(locals);

    if (due_ms < 0)
        support_wait(locals_fd(locals), POLLIN);
    else
        (void)support_is_ready(locals_fd(locals), POLLIN, due_ms);
    assert_int_equal(locals_update(locals), 0);
}

/* Takes away what "ip ... add ..." added. */
static void undo_ip(const char *command)
{
    const char *verb = strstr(command, " add ");
    char undo[200];

    assert_non_null(verb);
    snprintf(undo, sizeof undo, "%.*s del %s", (int)(verb - command), command, verb + 5);
    support_ip(undo);
}

/* One change may be told in several pieces, IPv6's some time after ip(8) has ended. */
static void update_until(struct locals *locals, const char *host, bool is_local)
{
    do
        update(locals);
    while (has(locals, host) != is_local);
}

static struct locals *open_locals(void)
{
    struct locals *locals = NULL;

    assert_int_equal(locals_new(&locals), 0);
    return locals;
}

static void loopback_is_known_from_the_start(void **state)
{
    struct locals *locals = open_locals();

    (void)state;
    assert_true(has(locals, "127.0.0.1"));
    assert_true(has(locals, "127.99.0.1")); /* all of 127.0.0.0/8 is local */
    assert_true(has(locals, "::1"));
    assert_false(has(locals, "198.51.100.7"));
    assert_false(has(locals, "2001:db8::7"));
    assert_false(has(locals, "0.0.0.0"));
    locals_free(locals);
}

static const struct change {
    const char *name;
    const char *add;
    const char *remove;
    const char *local;
    const char *foreign;
} changes[] = {
    { "an IPv4 address", "addr add 198.51.100.7/24 dev lo", "addr del 198.51.100.7/24 dev lo",
      "198.51.100.7", "198.51.101.7" },
    { "an IPv4 broadcast address", "addr add 198.51.100.7/25 brd + dev lo",
      "addr del 198.51.100.7/25 dev lo", "198.51.100.127", "198.51.101.127" },
    { "an IPv6 address", "-6 addr add 2001:db8::7/64 dev lo nodad",
      "-6 addr del 2001:db8::7/64 dev lo", "2001:db8::7", "2001:db8::8" },
    { "a whole IPv4 network routed to the host", "route add local 203.0.113.0/24 dev lo",
      "route del local 203.0.113.0/24 dev lo", "203.0.113.200", "203.0.114.0" },
    { "a whole IPv6 network routed to the host", "-6 route add local 2001:db8:1::/48 dev lo",
      "-6 route del local 2001:db8:1::/48 dev lo", "2001:db8:1:ffff::1", "2001:db8:2::" },
};

static void what_comes_and_goes_is_noticed(void **state)
{
    struct locals *locals = open_locals();

    (void)state;
    for (size_t i = 0; i < COUNT(changes); i++) {
        print_message("    %s\n", changes[i].name);
        assert_false(has(locals, changes[i].local));
        support_ip(changes[i].add);
        update_until(locals, changes[i].local, true);
        assert_false(has(locals, changes[i].foreign));
        support_ip(changes[i].remove);
        update_until(locals, changes[i].local, false);
        assert_true(has(locals, "127.0.0.1"));
    }
    locals_free(locals);
}

static void what_was_there_before_is_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(changes); i++) {
        struct locals *watching = open_locals();
        support_ip(changes[i].add);
        update_until(watching, changes[i].local, true);
        struct locals *locals = open_locals();
        assert_true(has(locals, changes[i].local));
        assert_false(has(locals, changes[i].foreign));
        locals_free(locals);
        support_ip(changes[i].remove);
        update_until(watching, changes[i].local, false);
        locals_free(watching);
    }
}

/* A return path of ours or of a transparent proxy makes no client this host's own. */
static void a_return_path_makes_no_client_local(void **state)
{
    static const char *const path[] = {
        "rule add fwmark 123 lookup 100",
        "rule add from 127.0.0.0/8 iif lo lookup 101",
        "rule add from all iif lo lookup 102",
        "-6 rule add fwmark 123 lookup 100",
        "-6 rule add from ::1/128 iif lo lookup 101",
        "route add local 0.0.0.0/0 dev lo table 100",
        "route add local 198.51.100.0/24 dev lo table 100",
        "route add local 198.51.100.0/24 dev lo table 101",
        "route add local 0.0.0.0/0 dev lo table 102",
        "-6 route add local ::/0 dev lo table 100",
        "-6 route add local 2001:db8::/64 dev lo table 101",
        "addr add 203.0.113.8/32 dev lo", /* the last event */
    };
    struct locals *locals = open_locals();

    (void)state;
    for (size_t i = 0; i < COUNT(path); i++)
        support_ip(path[i]);
    update_until(locals, "203.0.113.8", true);
    while (locals_due_ms(locals) >= 0)
        update(locals);
    assert_false(has(locals, "198.51.100.7"));
    assert_false(has(locals, "2001:db8::7"));
    locals_free(locals);
    locals = open_locals();
    assert_false(has(locals, "198.51.100.7"));
    assert_false(has(locals, "2001:db8::7"));
    locals_free(locals);
    for (size_t i = COUNT(path); i-- > 0;)
        undo_ip(path[i]);
}

static bool are_neighbours(const struct locals *locals, const char *one, const char *other)
{
    struct addr a = support_host(one);
    struct addr b = support_host(other);

    return locals_are_neighbours(locals, &a, &b);
}

static void two_addresses_in_a_network_of_the_host_are_neighbours(void **state)
{
    (void)state;
    support_ip("addr add 198.51.100.7/26 dev lo");
    support_ip("-6 addr add 2001:db8::7/64 dev lo nodad");
    struct locals *locals = open_locals();
    assert_true(are_neighbours(locals, "198.51.100.1", "198.51.100.62"));
    assert_false(are_neighbours(locals, "198.51.100.1", "198.51.100.65"));
    assert_false(are_neighbours(locals, "203.0.113.1", "203.0.113.2"));
    assert_false(are_neighbours(locals, "198.51.100.1", "2001:db8::1"));
    assert_true(are_neighbours(locals, "2001:db8::1", "2001:db8::ffff"));
    assert_false(are_neighbours(locals, "2001:db8::1", "2001:db8:0:1::1"));
    locals_free(locals);
    support_ip("addr del 198.51.100.7/26 dev lo");
    support_ip("-6 addr del 2001:db8::7/64 dev lo");
}

static bool reaches_container(const struct locals *locals, const char *host)
{
    struct addr addr = support_host(host);

    return locals_reach_container(locals, &addr);
}

static void update_until_reached(struct locals *locals, const char *host, bool is_reached)
{
    while (reaches_container(locals, host) != is_reached)
        update(locals);
}

static void a_bridge_of_veth_pairs_alone_leads_to_containers(void **state)
{
    struct locals *locals = open_locals();

    (void)state;
    assert_int_equal(locals_follow_bridges(locals), 0);
    support_ip("link add br9 type bridge");
    support_ip("addr add 198.51.100.7/26 dev br9");
    support_ip("-6 addr add 2001:db8::7/64 dev br9 nodad");
    support_ip("-6 addr add fe80::7/64 dev br9 nodad");
    support_ip("link add v9 type veth peer name w9");
    update_until(locals, "2001:db8::7", true);
    assert_false(reaches_container(locals, "198.51.100.8")); /* without a port */

    support_ip("link set v9 master br9");
    update_until_reached(locals, "198.51.100.8", true);
    assert_true(reaches_container(locals, "2001:db8::8"));
    assert_false(reaches_container(locals, "198.51.100.65"));
    assert_false(reaches_container(locals, "fe80::8"));
    assert_false(reaches_container(locals, "127.0.0.1"));

    support_ip("link add vx9 type vxlan id 9 dstport 4789");
    support_ip("link set vx9 master br9");
    update_until_reached(locals, "198.51.100.8", false);
    support_ip("link set vx9 nomaster");
    update_until_reached(locals, "198.51.100.8", true);
    support_ip("link del v9");
    update_until_reached(locals, "2001:db8::8", false);
    support_ip("link del br9");
    support_ip("link del vx9");
    locals_free(locals);
}

static void the_network_of_a_pair_itself_is_any_network(void **state)
{
    struct locals *locals;

    (void)state;
    support_ip("link add v9 type veth peer name w9");
    support_ip("addr add 198.51.100.7/26 dev v9");
    locals = open_locals();
    assert_int_equal(locals_follow_bridges(locals), 0);
    assert_false(reaches_container(locals, "198.51.100.8"));
    support_ip("link del v9");
    locals_free(locals);
}

static void bridges_that_are_not_followed_lead_nowhere(void **state)
{
    (void)state;
    support_ip("link add br9 type bridge");
    support_ip("link add v9 master br9 type veth peer name w9");
    support_ip("addr add 198.51.100.7/26 dev br9");
    struct locals *locals = open_locals();
    assert_false(reaches_container(locals, "198.51.100.8"));
    assert_int_equal(locals_follow_bridges(locals), 0);
    assert_true(reaches_container(locals, "198.51.100.8"));
    support_ip("link del v9");
    support_ip("link del br9");
    locals_free(locals);
}

/* Reported: such addresses passed as clients. */
static void an_own_address_in_another_table_is_local(void **state)
{
    static const struct {
        const char *name;
        const char *rule;
        const char *route;
        const char *local;
    } cases[] = {
        { "a rule for everybody", "rule add from all lookup 200",
          "route add local 198.51.100.7/32 dev lo table 200", "198.51.100.7" },
        { "table main", NULL, "route add local 198.51.100.0/24 dev lo table main", "198.51.100.7" },
        { "a rule for other marks", "rule add not fwmark 5 lookup 200",
          "route add local 198.51.100.7/32 dev lo table 200", "198.51.100.7" },
        { "no rule, as of a VRF", NULL, "route add local 198.51.100.7/32 dev lo table 200",
          "198.51.100.7" },
        { "IPv6", "-6 rule add from all lookup 200",
          "-6 route add local 2001:db8::7/128 dev lo table 200", "2001:db8::7" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct locals *locals = open_locals();

        print_message("    %s\n", cases[i].name);
        if (cases[i].rule)
            support_ip(cases[i].rule);
        support_ip(cases[i].route);
        update_until(locals, cases[i].local, true);
        assert_false(has(locals, "203.0.113.1"));
        undo_ip(cases[i].route);
        update_until(locals, cases[i].local, false);
        if (cases[i].rule)
            undo_ip(cases[i].rule);
        locals_free(locals);
    }
}

/* A rule that comes or goes makes another table count, or count no more. */
static void a_rule_that_changes_is_noticed(void **state)
{
    struct locals *locals = open_locals();

    (void)state;
    support_ip("rule add fwmark 123 lookup 200");
    support_ip("route add local 198.51.100.7/32 dev lo table 200");
    while (locals_due_ms(locals) >= 0 || support_is_ready(locals_fd(locals), POLLIN, 0))
        update(locals);
    assert_false(has(locals, "198.51.100.7"));
    support_ip("rule add from all lookup 200");
    update_until(locals, "198.51.100.7", true);
    support_ip("rule del from all lookup 200");
    update_until(locals, "198.51.100.7", false);
    support_ip("route flush table 200");
    support_ip("rule del fwmark 123 lookup 200");
    locals_free(locals);
}

/* In a VRF its local route is in the VRF's table; here in none, as not every kernel has VRFs. */
static void the_address_of_an_interface_is_local_without_a_route(void **state)
{
    struct locals *locals = open_locals();

    (void)state;
    support_ip("addr add 198.51.100.7/32 dev lo");
    update_until(locals, "198.51.100.7", true);
    support_ip("route del table local local 198.51.100.7 dev lo");
    support_wait(locals_fd(locals), POLLIN);
    do
        update(locals);
    while (locals_due_ms(locals) >= 0);
    assert_true(has(locals, "198.51.100.7"));
    support_ip("addr del 198.51.100.7/32 dev lo");
    update_until(locals, "198.51.100.7", false);
    locals_free(locals);
}

/* Reported: thousands of changes a second of other routes cost every worker a fifth of a core. */
static void changes_of_other_routes_wake_nobody(void **state)
{
    struct locals *locals = open_locals();

    (void)state;
    support_ip("route add 198.51.100.0/24 dev lo");
    support_ip("route add blackhole 203.0.113.0/24");
    support_ip("-6 route add unreachable 2001:db8:9::/48");
    support_ip("route flush root 198.51.100.0/24");
    support_ip("route del blackhole 203.0.113.0/24");
    support_ip("-6 route del unreachable 2001:db8:9::/48");
    assert_false(support_is_ready(locals_fd(locals), POLLIN, 0));
    locals_free(locals);
}

/* Everything is read again at once, then after a while; an address that came counts meanwhile. */
static void an_address_counts_before_everything_is_read_again(void **state)
{
    struct locals *locals = open_locals();

    (void)state;
    support_ip("addr add 198.51.100.7/32 dev lo");
    support_wait(locals_fd(locals), POLLIN);
    assert_int_equal(locals_update(locals), 0);
    assert_true(has(locals, "198.51.100.7"));
    support_ip("addr add 198.51.100.8/32 dev lo");
    support_wait(locals_fd(locals), POLLIN);
    assert_int_equal(locals_update(locals), 0);
    assert_true(has(locals, "198.51.100.8"));
    assert_true(has(locals, "198.51.100.7"));
    support_ip("addr del 198.51.100.7/32 dev lo");
    update_until(locals, "198.51.100.7", false);
    assert_true(has(locals, "198.51.100.8"));
    support_ip("addr del 198.51.100.8/32 dev lo");
    locals_free(locals);
}

static void an_update_without_news_changes_nothing_and_does_not_block(void **state)
{
    struct locals *locals = open_locals();

    (void)state;
    assert_false(support_is_ready(locals_fd(locals), POLLIN, 0));
    assert_int_equal(locals_update(locals), 0);
    assert_true(has(locals, "127.0.0.1"));
    locals_free(locals);
}

/* More notifications than the socket takes: the kernel drops some and says so. */
static void more_changes_than_can_be_told_are_noticed_all_the_same(void **state)
{
    struct locals *locals = open_locals();
    FILE *batch = popen("PATH=/usr/sbin:/usr/bin:/sbin:/bin ip -batch -", "w");

    (void)state;
    assert_non_null(batch);
    for (int i = 0; i < 5000; i++)
        fprintf(batch, "route add local 10.1.%d.%d dev lo\n", i / 250, i % 250);
    assert_int_equal(pclose(batch), 0);
    update_until(locals, "10.1.19.249", true);
    assert_true(has(locals, "10.1.0.0"));
    assert_true(has(locals, "10.1.10.10"));
    assert_false(has(locals, "10.1.20.0"));
    locals_free(locals);
    support_ip("route flush table local root 10.1.0.0/16");
}

static void nothing_stays_open(void **state)
{
    unsigned before = support_descriptors("");
    struct locals *locals = open_locals();

    (void)state;
    assert_int_equal(support_descriptors(""), before + 2);
    locals_free(locals);
    assert_int_equal(support_descriptors(""), before);
    locals_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loopback_is_known_from_the_start),
        cmocka_unit_test(what_comes_and_goes_is_noticed),
        cmocka_unit_test(what_was_there_before_is_known),
        cmocka_unit_test(a_return_path_makes_no_client_local),
        cmocka_unit_test(two_addresses_in_a_network_of_the_host_are_neighbours),
        cmocka_unit_test(a_bridge_of_veth_pairs_alone_leads_to_containers),
        cmocka_unit_test(the_network_of_a_pair_itself_is_any_network),
        cmocka_unit_test(bridges_that_are_not_followed_lead_nowhere),
        cmocka_unit_test(an_own_address_in_another_table_is_local),
        cmocka_unit_test(a_rule_that_changes_is_noticed),
        cmocka_unit_test(the_address_of_an_interface_is_local_without_a_route),
        cmocka_unit_test(changes_of_other_routes_wake_nobody),
        cmocka_unit_test(an_address_counts_before_everything_is_read_again),
        cmocka_unit_test(an_update_without_news_changes_nothing_and_does_not_block),
        cmocka_unit_test(more_changes_than_can_be_told_are_noticed_all_the_same),
        cmocka_unit_test(nothing_stays_open),
    };

    return cmocka_run_group_tests(tests, support_enter_netns, NULL);
}
