/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include "mmproxy/control/json.h"
#include "mmproxy/control/request.h"

static struct request request;

static const char *parse(const char *line)
{
    return request_parse(&request, line, strlen(line));
}

static void good_lines_are_taken(void **state)
{
    (void)state;
    assert_null(parse("status"));
    assert_int_equal(request.command, REQUEST_STATUS);
    assert_null(parse("sessions listener=ssh client=198.51.100.0/24 peer=2001:db8::1"));
    assert_string_equal(request.listener, "ssh");
    assert_int_equal(request.client.len, 24);
    assert_int_equal(request.peer.len, 128);
    assert_null(parse("close 12-1 4711-18446744073709551615"));
    assert_int_equal(request.n_ids, 2);
    assert_int_equal(request.ids[0].pid, 12);
    assert_int_equal(request.ids[0].number, 1);
    assert_true(request.ids[1].number == UINT64_MAX);
    assert_null(parse("drain a-b.c"));
    assert_string_equal(request.listener, "a-b.c");
}

static void anything_else_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "statu",
        "status x",
        "status ",
        "sessions  ",
        "sessions client=1.2.3.4/33",
        "sessions client=",
        "sessions listener=",
        "sessions 12-1",
        "close",
        "close peer=1.2.3.4",
        "close 12",
        "close 12-",
        "close 12-0",
        "close 0-12",
        "close -1-12",
        "close 12-1 client=1.2.3.4",
        "close 12-1x",
        "close 12-18446744073709551616",
        "drain",
        "drain a b",
        "reload now",
        "status\t",
        "status\n",
        "check ssh",
        "drain aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        if (!parse(bad[i]))
            fail_msg("\"%s\" is taken", bad[i]);
    assert_non_null(request_parse(&request, "status\0x", 8));
}

static void looking_changes_nothing(void **state)
{
    (void)state;
    for (unsigned i = 0; i < REQUEST_COMMANDS; i++)
        assert_int_equal(request_changes((enum request_command)i),
                         i != REQUEST_STATUS && i != REQUEST_SESSIONS && i != REQUEST_CHECK &&
                             i != REQUEST_METRICS && i != REQUEST_MAP);
}

static void a_line_of_json_is_whole_or_not_there(void **state)
{
    char text[64];
    struct json json;

    (void)state;
    json_begin(&json, text, sizeof text);
    json_text(&json, "a", "\"\\\n\xff");
    json_open(&json, "b", '[');
    json_number(&json, NULL, UINT64_MAX);
    json_boolean(&json, NULL, true);
    json_close(&json, ']');
    size_t len = json_end(&json);
    static const char expected[] =
        "{\"a\":\"\\u0022\\u005c\\u000a\\u00ff\",\"b\":[18446744073709551615,true]}\n";
    assert_int_equal(len, 0); /* 65 bytes */
    char more[128];
    json_begin(&json, more, sizeof more);
    json_text(&json, "a", "\"\\\n\xff");
    json_open(&json, "b", '[');
    json_number(&json, NULL, UINT64_MAX);
    json_boolean(&json, NULL, true);
    json_close(&json, ']');
    len = json_end(&json);
    assert_int_equal(len, sizeof expected - 1);
    assert_memory_equal(more, expected, len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_lines_are_taken),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(looking_changes_nothing),
        cmocka_unit_test(a_line_of_json_is_whole_or_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
