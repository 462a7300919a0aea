/* SPDX-License-Identifier: BSD-2-Clause */
#include "proxyproto_check.h"

#define SIG   "\r\n\r\n\0\r\nQUIT\n"
#define PORTS "\x9c\x40\x00\x35"
#define V4    "\xc6\x33\x64\x07\xcb\x00\x71\x09" PORTS
#define V6                                                             \
    "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" \
    "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" PORTS

static const struct good_header good[] = {
    { "UDP over IPv4", BYTES(SIG "\x21\x12\x00\x0c" V4), "198.51.100.7:40000", "203.0.113.9:53" },
    { "UDP over IPv6", BYTES(SIG "\x21\x22\x00\x24" V6), "[2001:db8::7]:40000",
      "[2001:db8::1]:53" },
    { "a CRC32c", BYTES(SIG "\x21\x12\x00\x13" V4 "\x03\x00\x04\x67\xdf\x89\xfd"),
      "198.51.100.7:40000", "203.0.113.9:53" },
    { "LOCAL", BYTES(SIG "\x20\x00\x00\x00"), NULL, NULL },
    { "LOCAL that says TCP", BYTES(SIG "\x20\x11\x00\x0c" V4), NULL, NULL },
    { "UNSPEC", BYTES(SIG "\x21\x00\x00\x00"), NULL, NULL },
    { "an unspecified transport", BYTES(SIG "\x21\x10\x00\x0c" V4), NULL, NULL },
};

static const struct bad_header bad[] = {
    { "nothing", BYTES(""), "not a PROXY protocol header" },
    { "payload", BYTES("\x12\x34\x01\x00"), "not a PROXY protocol header" },
    { "a word that begins with P", BYTES("PING"), "not a PROXY protocol header" },
    { "v1", BYTES("PROXY TCP4 198.51.100.7 203.0.113.9 40000 53\r\n"),
      "v1 header in a datagram: only v2 can say UDP" },
    { "a beginning of v1", BYTES("PROXY TCP4 198."),
      "v1 header in a datagram: only v2 can say UDP" },
    { "TCP over IPv4", BYTES(SIG "\x21\x11\x00\x0c" V4), "v2 header says TCP, not UDP" },
    { "TCP over IPv6", BYTES(SIG "\x21\x21\x00\x24" V6), "v2 header says TCP, not UDP" },
    { "a UNIX socket", BYTES(SIG "\x21\x32\x00\x0c" V4), "v2 header says UNIX socket, not UDP" },
    { "no room for the addresses", BYTES(SIG "\x21\x12\x00\x0b" V4),
      "v2 length is too short for the addresses" },
    { "a wrong CRC32c", BYTES(SIG "\x21\x12\x00\x13" V4 "\x03\x00\x04\x00\x00\x00\x00"),
      "v2 CRC32c does not match" },
    { "a TLV that is too long", BYTES(SIG "\x21\x12\x00\x0f" V4 "\x01\x00\x01"),
      "v2 TLV is longer than what is left of the header" },
};

static enum proxyproto_verdict parse_datagram(const char *bytes, size_t len, struct proxyproto *out)
{
    uint8_t *copy = calloc(1, len > 0 ? len : 1);
    enum proxyproto_verdict verdict;

    memcpy(copy, bytes, len);
    verdict = proxyproto_parse_datagram(copy, len, out);
    free(copy);
    return verdict;
}

static void a_header_for_udp_is_accepted_with_payload_and_without(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        char datagram[256] = "";

        memcpy(datagram, good[i].bytes, good[i].len);
        for (size_t payload = 0; payload <= 100; payload += 50) {
            struct proxyproto out;
            char text[ADDR_STRLEN];

            if (parse_datagram(datagram, good[i].len + payload, &out) != PROXYPROTO_OK)
                fail_msg("%s: %s", good[i].name, out.reason);
            assert_int_equal(out.length, good[i].len);
            assert_int_equal(out.is_local, good[i].client == NULL);
            if (!good[i].client)
                continue;
            assert_string_equal(addr_format(&out.client, text), good[i].client);
            assert_string_equal(addr_format(&out.destination, text), good[i].destination);
        }
    }
}

static void a_header_that_is_cut_off_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        for (size_t len = 1; len < good[i].len; len++) {
            struct proxyproto out;

            assert_int_equal(parse_datagram(good[i].bytes, len, &out), PROXYPROTO_BAD);
            assert_string_equal(out.reason, "v2 header is longer than the datagram");
        }
    }
}

static void what_is_no_header_for_udp_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct proxyproto out;

        if (parse_datagram(bad[i].bytes, bad[i].len, &out) != PROXYPROTO_BAD)
            fail_msg("%s: not refused", bad[i].name);
        if (strcmp(out.reason, bad[i].reason) != 0)
            fail_msg("%s: reason is \"%s\"", bad[i].name, out.reason);
    }
}

static void what_is_meant_to_be_a_header_is_known_for_one(void **state)
{
    static const char v1[] = "PROXY TCP4 198.51.100.7 203.0.113.9 40000 53\r\nquery";
    static const char v2[] = SIG "\x21\x11\x00\x0c" V4 "query";

    (void)state;
    for (size_t len = 0; len < sizeof v2; len++)
        assert_int_equal(proxyproto_begins((const uint8_t *)v2, len), len >= sizeof SIG - 1);
    for (size_t len = 0; len < sizeof v1; len++)
        assert_int_equal(proxyproto_begins((const uint8_t *)v1, len),
                         len >= sizeof v1 - sizeof "query");
    assert_false(proxyproto_begins((const uint8_t *)"PROXY me", 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_for_udp_is_accepted_with_payload_and_without),
        cmocka_unit_test(a_header_that_is_cut_off_is_refused),
        cmocka_unit_test(what_is_no_header_for_udp_is_refused),
        cmocka_unit_test(what_is_meant_to_be_a_header_is_known_for_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
