/* SPDX-License-Identifier: BSD-2-Clause */
#include "netns_support.h"

#include "mmproxy/net/locals.h"

static bool has(const struct locals *locals, const char *host)
{
    struct addr addr = support_host(host);

    return locals_contain(locals, &addr);
}

/* One change may be told in several pieces, IPv6's some time after ip(8) has ended. */
static void update_until(struct locals *locals, const char *host, bool is_local)
{
    do {
        support_wait(locals_fd(locals), POLLIN);
        assert_int_equal(locals_update(locals), 0);
    } while (has(locals, host) != is_local);
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

static void other_tables_do_not_count(void **state)
{
    struct locals *locals = open_locals();

    (void)state;
    support_ip("route add local 0.0.0.0/0 dev lo table 100");
    support_ip("-6 route add local ::/0 dev lo table 100");
    support_ip("addr add 198.51.100.8/32 dev lo"); /* the last of the news */
    update_until(locals, "198.51.100.8", true);
    assert_false(has(locals, "198.51.100.7"));
    assert_false(has(locals, "2001:db8::7"));
    locals_free(locals);
    locals = open_locals();
    assert_false(has(locals, "198.51.100.7"));
    assert_false(has(locals, "2001:db8::7"));
    locals_free(locals);
    support_ip("addr del 198.51.100.8/32 dev lo");
    support_ip("route flush table 100");
    support_ip("-6 route flush table 100");
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
        cmocka_unit_test(other_tables_do_not_count),
        cmocka_unit_test(an_update_without_news_changes_nothing_and_does_not_block),
        cmocka_unit_test(more_changes_than_can_be_told_are_noticed_all_the_same),
        cmocka_unit_test(nothing_stays_open),
    };

    return cmocka_run_group_tests(tests, support_enter_netns, NULL);
}
