/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/auto_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct addr parse(const char *text)
{
    struct addr addr = { 0 };

    if (text)
        assert_null(addr_parse(&addr, text));
    return addr;
}

static void auto_decides_for_each_target(void **state)
{
    static const struct {
        enum protocol protocol;
        const char *target;
        bool is_own;
        bool has_own_other;
        enum return_path path;
    } rows[] = {
        { PROTOCOL_TCP, "127.0.0.1:1", true, false, RETURN_PATH_LOOPBACK },
        { PROTOCOL_TCP, "127.1.2.3:1", true, true, RETURN_PATH_FWMARK },
        { PROTOCOL_TCP, "[::1]:1", true, false, RETURN_PATH_LOOPBACK },
        { PROTOCOL_TCP, "[::1]:1", true, true, RETURN_PATH_FWMARK },
        { PROTOCOL_TCP, "192.0.2.1:1", true, false, RETURN_PATH_FWMARK },
        { PROTOCOL_TCP, "192.0.2.1:1", true, true, RETURN_PATH_FWMARK },
        { PROTOCOL_TCP, "192.0.2.1:1", false, false, RETURN_PATH_ROUTED },
        { PROTOCOL_TCP, "[2001:db8::1]:1", false, true, RETURN_PATH_ROUTED },
        { PROTOCOL_UDP, "192.0.2.1:1", true, false, RETURN_PATH_FLOWS },
        { PROTOCOL_UDP, "127.0.0.1:1", true, true, RETURN_PATH_FLOWS },
        { PROTOCOL_UDP, "[::1]:1", true, false, RETURN_PATH_FLOWS },
        { PROTOCOL_UDP, "[2001:db8::1]:1", false, false, RETURN_PATH_ROUTED },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct addr target = parse(rows[i].target);
        enum return_path path =
            auto_path_of(rows[i].protocol, &target, rows[i].is_own, rows[i].has_own_other);

        if (path != rows[i].path)
            fail_msg("row %zu: %s", i, return_path_word(path));
    }
}

/* Without locals every address but loopback's is another host's. */
static void a_listener_has_a_return_path_for_each_family(void **state)
{
    static const struct {
        enum return_path written;
        const char *v4;
        const char *v6;
        enum return_path path_v4;
        enum return_path path_v6;
        uint32_t mark_v4;
        uint32_t mark_v6;
    } rows[] = {
        { RETURN_PATH_AUTO, "127.0.0.1:1", "[2001:db8::1]:1", RETURN_PATH_LOOPBACK,
          RETURN_PATH_ROUTED, 123, 0 },
        { RETURN_PATH_AUTO, "192.0.2.1:1", "[::1]:1", RETURN_PATH_ROUTED, RETURN_PATH_LOOPBACK, 0,
          123 },
        { RETURN_PATH_AUTO, "127.0.0.1:1", NULL, RETURN_PATH_LOOPBACK, RETURN_PATH_AUTO, 123, 123 },
        { RETURN_PATH_FWMARK, "192.0.2.1:1", "[::1]:1", RETURN_PATH_FWMARK, RETURN_PATH_FWMARK, 123,
          123 },
        { RETURN_PATH_ROUTED, "127.0.0.1:1", NULL, RETURN_PATH_ROUTED, RETURN_PATH_ROUTED, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct listener_config listener = { .target_v4.addr = parse(rows[i].v4),
                                            .target_v6.addr = parse(rows[i].v6),
                                            .return_path = rows[i].written,
                                            .mark = 123 };

        auto_path_find(&listener, NULL);
        assert_int_equal(listener.return_path, rows[i].written);
        assert_int_equal(listener_config_return_path(&listener, AF_INET), rows[i].path_v4);
        assert_int_equal(listener_config_return_path(&listener, AF_INET6), rows[i].path_v6);
        assert_int_equal(listener_config_socket_mark(&listener, AF_INET), rows[i].mark_v4);
        assert_int_equal(listener_config_socket_mark(&listener, AF_INET6), rows[i].mark_v6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auto_decides_for_each_target),
        cmocka_unit_test(a_listener_has_a_return_path_for_each_family),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
