/* SPDX-License-Identifier: BSD-2-Clause */
#include "proxyproto_check.h"

#include "mmproxy/proxyproto/spp.h"

#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff"
#define V6     "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"

#define OVER_V4 "\x56\xec" MAPPED "\xc6\x33\x64\x07" MAPPED "\xcb\x00\x71\x09\x9c\x40\x00\x35"
#define OVER_V6 "\x56\xec" V6 V6 "\x9c\x40\x00\x35"

static const char *parse(const char *bytes, size_t len, struct spp *out)
{
    uint8_t *copy = calloc(1, len > 0 ? len : 1);

    memcpy(copy, bytes, len);
    const char *reason = spp_parse(copy, len, out);
    free(copy);
    return reason;
}

static void check(const char *bytes, const char *client, const char *proxy)
{
    struct spp out;
    char text[ADDR_STRLEN];
    uint8_t written[SPP_LEN];
    char datagram[SPP_LEN + 4];

    memcpy(datagram, bytes, SPP_LEN);
    memcpy(datagram + SPP_LEN, "ping", 4);
    assert_null(parse(bytes, SPP_LEN, &out));
    assert_null(parse(datagram, sizeof datagram, &out));
    assert_string_equal(addr_format(&out.client, text), client);
    assert_string_equal(addr_format(&out.proxy, text), proxy);
    spp_write(written, &out);
    assert_memory_equal(written, bytes, SPP_LEN);
}

static void a_header_is_read_and_written_as_the_same_bytes(void **state)
{
    (void)state;
    check(OVER_V4, "198.51.100.7:40000", "203.0.113.9:53");
    check(OVER_V6, "[2001:db8::7]:40000", "[2001:db8::7]:53");
}

static void what_is_no_header_or_is_cut_off_is_refused(void **state)
{
    struct spp out;

    (void)state;
    assert_string_equal(parse("", 0, &out), "not a Simple Proxy Protocol header");
    assert_string_equal(parse("\x56", 1, &out), "not a Simple Proxy Protocol header");
    assert_string_equal(parse("\xec\x56" MAPPED MAPPED, 26, &out),
                        "not a Simple Proxy Protocol header");
    for (size_t len = 2; len < SPP_LEN; len++)
        assert_string_equal(parse(OVER_V4, len, &out),
                            "Simple Proxy Protocol header is longer than the datagram");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_read_and_written_as_the_same_bytes),
        cmocka_unit_test(what_is_no_header_or_is_cut_off_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
