/* SPDX-License-Identifier: BSD-2-Clause */
/* verify_report on recorded findings: its lines, word by word. */
#include "routing_support.h"

#include "mmproxy/routing/report/verify.h"

/* A fwmark listener on 127.0.0.1: rule, route and two sysctls, of which all hold. */
struct world {
    struct listener_config listener;
    struct config config;
    struct wanted wanted;
    struct judgement items[8];
    struct survey survey;
    struct report_told told;
    char text[4096];
    size_t len;
};

static void keep_line(void *context, enum log_level level, const char *line)
{
    struct world *world = context;

    (void)level;
    world->len +=
        (size_t)snprintf(world->text + world->len, sizeof world->text - world->len, "%s\n", line);
    assert_true(world->len < sizeof world->text);
}

static void open_world(struct world *world)
{
    struct wanted_host host = { .has_ipv6 = false };

    *world = (struct world){ 0 };
    world->listener = support_listener(RETURN_PATH_FWMARK, "127.0.0.1:22", NULL, 123, 100);
    world->config = (struct config){ .listeners = &world->listener, .n_listeners = 1 };
    assert_int_equal(wanted_add(&world->wanted, &world->config, &host), 0);
    assert_int_equal(world->wanted.n_items, 4);
    world->survey.items = world->items;
}

static bool report(struct world *world)
{
    struct report_sink sink = { .line = keep_line, .context = world, .told = &world->told };

    world->len = 0;
    world->text[0] = '\0';
    return verify_report(&world->config, &world->wanted, &world->survey, &sink);
}

static void close_world(struct world *world)
{
    wanted_close(&world->wanted);
    report_told_close(&world->told);
}

#define HEAD  "[ ] Remember to set the reverse routing rules correctly:\n"
#define RULE  "ip rule add fwmark 123 lookup 100               # [+] VERIFIED\n"
#define ROUTE "ip route add local 0.0.0.0/0 dev lo table 100   # [+] VERIFIED\n"
#define SYSCTLS                                                        \
    "sysctl -w net.ipv4.tcp_fwmark_accept=1          # [+] VERIFIED\n" \
    "sysctl -w net.ipv4.fwmark_reflect=1             # [+] VERIFIED\n"

static void everything_that_holds_is_verified(void **state)
{
    struct world world;

    (void)state;
    open_world(&world);
    assert_true(report(&world));
    assert_string_equal(world.text, HEAD RULE ROUTE SYSCTLS);
    close_world(&world);
}

static void a_missing_piece_is_its_own_command(void **state)
{
    struct world world;

    (void)state;
    open_world(&world);
    world.items[0].verdict = JUDGE_MISSING;
    assert_false(report(&world));
    assert_string_equal(
        world.text,
        HEAD "ip rule add fwmark 123 lookup 100               # [!] CHECK FAILED\n" ROUTE SYSCTLS);
    close_world(&world);
}

/* Its own command would fail: the line is a comment. */
static void commands_that_mend_follow_a_comment(void **state)
{
    struct world world;

    (void)state;
    open_world(&world);
    world.items[1] = (struct judgement){
        .verdict = JUDGE_WRONG,
        .reason = "a wrong route is in its place: blackhole default table 100",
        .commands = { "ip route del blackhole default table 100",
                      "ip route add local 0.0.0.0/0 dev lo table 100" },
        .n_commands = 2,
    };
    assert_false(report(&world));
    assert_string_equal(
        world.text,
        HEAD RULE "# ip route add local 0.0.0.0/0 dev lo table 100 # [!] CHECK FAILED\n"
                  "[!] a wrong route is in its place: blackhole default table 100; these commands "
                  "mend it, in this order:\n"
                  "ip route del blackhole default table 100\n"
                  "ip route add local 0.0.0.0/0 dev lo table 100\n" SYSCTLS);
    close_world(&world);
}

static void a_note_is_no_failure(void **state)
{
    struct world world;

    (void)state;
    open_world(&world);
    world.items[0] = (struct judgement){
        .verdict = JUDGE_HOLDS,
        .note = "Somebody may suffer:",
        .commands = { "ip rule add x" },
        .n_commands = 1,
    };
    assert_true(report(&world));
    assert_string_equal(world.text,
                        HEAD RULE "[ ] Somebody may suffer: ip rule add x\n" ROUTE SYSCTLS);
    close_world(&world);
}

static void a_family_without_a_default_route_fails(void **state)
{
    struct world world;

    (void)state;
    open_world(&world);
    world.survey.no_route[1] = true;
    assert_false(report(&world));
    assert_non_null(strstr(world.text, "[!] CHECK FAILED: there is no IPv6 default route"));
    close_world(&world);
}

/* verify and check have one list of commands: none is printed twice. */
static void a_command_is_reported_once(void **state)
{
    struct world world;
    struct report_sink sink = { .line = keep_line, .context = &world, .told = &world.told };

    (void)state;
    open_world(&world);
    world.items[0].verdict = JUDGE_MISSING;
    assert_false(report(&world));
    world.len = 0;
    world.text[0] = '\0';
    assert_true(report_sink_has_told(&sink, "ip rule add fwmark 123 lookup 100"));
    report_sink_command(&sink, "ip rule add fwmark 123 lookup 100");
    report_sink_command(&sink, "another");
    report_sink_command(&sink, "another");
    assert_string_equal(world.text, "another\n");
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_that_holds_is_verified),
        cmocka_unit_test(a_missing_piece_is_its_own_command),
        cmocka_unit_test(commands_that_mend_follow_a_comment),
        cmocka_unit_test(a_note_is_no_failure),
        cmocka_unit_test(a_family_without_a_default_route_fails),
        cmocka_unit_test(a_command_is_reported_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
