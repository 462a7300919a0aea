/* SPDX-License-Identifier: BSD-2-Clause */
#include "proxyproto_check.h"

#define HEX39 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

static const struct good_header good[] = {
    { "an IPv4 client", BYTES("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"),
      "192.168.0.1:56324", "192.168.0.11:443" },
    { "the longest line of TCP4",
      BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255:65535",
      "255.255.255.255:65535" },
    { "the shortest line of TCP4", BYTES("PROXY TCP4 1.1.1.1 2.2.2.2 0 0\r\n"), "1.1.1.1:0",
      "2.2.2.2:0" },
    { "an IPv6 client", BYTES("PROXY TCP6 2001:db8::7 2001:db8::1 40000 22\r\n"),
      "[2001:db8::7]:40000", "[2001:db8::1]:22" },
    { "IPv6 in upper case", BYTES("PROXY TCP6 2001:DB8::ABCD 2001:DB8::EF 1 2\r\n"),
      "[2001:db8::abcd]:1", "[2001:db8::ef]:2" },
    { "IPv6 groups with leading zeros",
      BYTES("PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0007 0::1 1 2\r\n"), "[2001:db8::7]:1",
      "[::1]:2" },
    { "the longest line of TCP6", BYTES("PROXY TCP6 " HEX39 " " HEX39 " 65535 65535\r\n"),
      "[" HEX39 "]:65535", "[" HEX39 "]:65535" },
    { "the shortest line of TCP6", BYTES("PROXY TCP6 :: :: 0 0\r\n"), "[::]:0", "[::]:0" },
    { "a v4-mapped client is an IPv4 one",
      BYTES("PROXY TCP6 ::ffff:198.51.100.7 ::ffff:cb00:7109 1 2\r\n"), "198.51.100.7:1",
      "203.0.113.9:2" },
    { "UNKNOWN without anything", BYTES("PROXY UNKNOWN\r\n"), NULL, NULL },
    { "UNKNOWN with a space", BYTES("PROXY UNKNOWN \r\n"), NULL, NULL },
    { "UNKNOWN of 107 bytes", BYTES("PROXY UNKNOWN " HEX39 " " HEX39 " 65535 65535\r\n"), NULL,
      NULL },
    { "UNKNOWN with nonsense behind it", BYTES("PROXY UNKNOWN  TCP4 \xff\0\t 1.2.3.4.5 -1\r\n"),
      NULL, NULL },
    { "UNKNOWN with a lone CR and a lone LF, which end nothing",
      BYTES("PROXY UNKNOWN a\rb\nc\r\r\n"), NULL, NULL },
};

#define NOT_V4_SOURCE       "v1 source address is not an IPv4 address"
#define NOT_V6_SOURCE       "v1 source address is not an IPv6 address"
#define NOT_CRLF            "v1 line does not end with CR and LF"
#define TWO_SPACES          "v1 fields are not separated by exactly one space"
#define TOO_FEW             "v1 line has too few fields"
#define NO_PROTOCOL         "v1 protocol is not TCP4, TCP6 or UNKNOWN"
#define NO_SOURCE_PORT      "v1 source port is not a number from 0 to 65535"
#define NO_DESTINATION_PORT "v1 destination port is not a number from 0 to 65535"
#define NOT_TERMINATED      "v1 line is not terminated"
#define NO_HEADER           "not a PROXY protocol header"

static const struct bad_header bad[] = {
    { "bytes that begin no header", BYTES("G"), NO_HEADER },
    { "an HTTP method that begins like PROXY", BYTES("PROP"), NO_HEADER },
    { "PROXX", BYTES("PROXX"), NO_HEADER },
    { "a small letter", BYTES("Pr"), NO_HEADER },
    { "PROXY and a tab", BYTES("PROXY\t"), "v1 PROXY is not followed by a space" },
    { "PROXY and a line end", BYTES("PROXY\r"), "v1 PROXY is not followed by a space" },
    { "two spaces before the protocol", BYTES("PROXY  "), TWO_SPACES },
    { "TCP5", BYTES("PROXY TCP5"), NO_PROTOCOL },
    { "TCP46", BYTES("PROXY TCP46"), NO_PROTOCOL },
    { "UDP4", BYTES("PROXY UD"), NO_PROTOCOL },
    { "tcp4 in small letters", BYTES("PROXY t"), NO_PROTOCOL },
    { "UNKNOWNS", BYTES("PROXY UNKNOWNS"), NO_PROTOCOL },
    { "no protocol", BYTES("PROXY \r"), NO_PROTOCOL },
    { "UNKNOWN and a lone CR", BYTES("PROXY UNKNOWN\rx"), NOT_CRLF },
    { "UNKNOWN and a lone LF", BYTES("PROXY UNKNOWN\n"), NOT_CRLF },
    { "TCP4 and nothing else", BYTES("PROXY TCP4\r"), TOO_FEW },
    { "TCP4 and a lone LF", BYTES("PROXY TCP4\n"), NOT_CRLF },
    { "two spaces before the source address", BYTES("PROXY TCP4  "), TWO_SPACES },
    { "two spaces before the destination address", BYTES("PROXY TCP4 1.2.3.4  "), TWO_SPACES },
    { "two spaces before the source port", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8  "), TWO_SPACES },
    { "two spaces before the destination port", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1  "),
      TWO_SPACES },
    { "a space before the line end", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 "),
      "v1 line has too many fields" },
    { "a fifth field", BYTES("PROXY TCP6 ::1 ::2 1 2 "), "v1 line has too many fields" },
    { "one address", BYTES("PROXY TCP4 1.2.3.4\r"), TOO_FEW },
    { "no ports", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8\r"), TOO_FEW },
    { "one port", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1\r"), TOO_FEW },
    { "an empty last port", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 \r"), TOO_FEW },
    { "a lone LF at the end", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n"), NOT_CRLF },
    { "a lone CR at the end", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rG"), NOT_CRLF },
    { "two CRs at the end", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r"), NOT_CRLF },
    { "a name instead of an address", BYTES("PROXY TCP4 l"), NOT_V4_SOURCE },
    { "a name that begins like an address", BYTES("PROXY TCP6 face:b00k"), NOT_V6_SOURCE },
    { "a tab instead of a space", BYTES("PROXY TCP4 1.2.3.4\t"), NOT_V4_SOURCE },
    { "a NUL byte", BYTES("PROXY TCP4 1.2.3.4\0"), NOT_V4_SOURCE },
    { "IPv6 where IPv4 is announced", BYTES("PROXY TCP4 2001:"), NOT_V4_SOURCE },
    { "IPv4 where IPv6 is announced", BYTES("PROXY TCP6 1.2.3.4 ::1 1 2\r\n"), NOT_V6_SOURCE },
    { "a part above 255", BYTES("PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n"), NOT_V4_SOURCE },
    { "three parts", BYTES("PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n"), NOT_V4_SOURCE },
    { "five parts", BYTES("PROXY TCP4 1.2.3.4.5 5.6.7.8 1 2\r\n"), NOT_V4_SOURCE },
    { "one number", BYTES("PROXY TCP4 16909060 5.6.7.8 1 2\r\n"), NOT_V4_SOURCE },
    { "two dots", BYTES("PROXY TCP4 1..3.4 5.6.7.8 1 2\r\n"), NOT_V4_SOURCE },
    { "a leading zero in an IPv4 part", BYTES("PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n"),
      NOT_V4_SOURCE },
    { "an IPv4 address of 16 bytes", BYTES("PROXY TCP4 1.2.3.4000000000"), NOT_V4_SOURCE },
    { "the same for the destination", BYTES("PROXY TCP4 1.2.3.4 5.6.7.08 1 2\r\n"),
      "v1 destination address is not an IPv4 address" },
    { "five hexadecimal digits", BYTES("PROXY TCP6 00001:: ::2 1 2\r\n"), NOT_V6_SOURCE },
    { "two double colons", BYTES("PROXY TCP6 1::2::3 ::2 1 2\r\n"), NOT_V6_SOURCE },
    { "seven groups", BYTES("PROXY TCP6 1:2:3:4:5:6:7 ::2 1 2\r\n"), NOT_V6_SOURCE },
    { "nine groups", BYTES("PROXY TCP6 1:2:3:4:5:6:7:8:9 ::2 1 2\r\n"), NOT_V6_SOURCE },
    { "a scope", BYTES("PROXY TCP6 fe80::1%"), NOT_V6_SOURCE },
    { "brackets", BYTES("PROXY TCP6 ["), NOT_V6_SOURCE },
    { "an IPv6 address of 46 bytes", BYTES("PROXY TCP6 " HEX39 ":ffff:f"), NOT_V6_SOURCE },
    { "a destination that is no IPv6 address", BYTES("PROXY TCP6 ::1 : 1 2\r\n"),
      "v1 destination address is not an IPv6 address" },
    { "a source port above 65535", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n"),
      NO_SOURCE_PORT },
    { "a source port of six digits", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 000001"), NO_SOURCE_PORT },
    { "a leading zero in a port", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n"), NO_SOURCE_PORT },
    { "two zeros for a port", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 00\r\n"), NO_DESTINATION_PORT },
    { "a plus before a port", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 +"), NO_SOURCE_PORT },
    { "a minus before a port", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 -"), NO_DESTINATION_PORT },
    { "a hexadecimal port", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 0x"), NO_SOURCE_PORT },
    { "a destination port above 65535", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n"),
      NO_DESTINATION_PORT },
    { "UNKNOWN of 108 bytes: after 106 no CRLF can come in time any more",
      BYTES("PROXY UNKNOWN " HEX39 " " HEX39 " 65535 655355"), NOT_TERMINATED },
    { "UNKNOWN whose 106th byte is CR but whose 107th is no LF",
      BYTES("PROXY UNKNOWN " HEX39 " " HEX39 " 65535 65535\rx"), NOT_TERMINATED },
    { "a line of TCP6 that outgrows 107 bytes",
      BYTES("PROXY TCP6 0000:0000:0000:0000:0000:ffff:255.255.255.255 "
            "0000:0000:0000:0000:0000:ffff:255.255.255.255 655"),
      NOT_TERMINATED },
};

static void a_good_header_names_its_client(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        check_good(&good[i], 1);
}

static void every_proper_prefix_of_a_good_header_asks_for_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        check_prefixes(good[i].name, good[i].bytes, good[i].len);
}

static void a_bad_header_is_refused_at_its_first_wrong_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        check_bad(&bad[i]);
}

static void a_verdict_never_changes_with_more_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        check_stays(good[i].name, good[i].bytes, good[i].len);
    for (size_t i = 0; i < COUNT(bad); i++)
        check_stays(bad[i].name, bad[i].bytes, bad[i].len);
}

static void every_reason_has_a_test(void **state)
{
    (void)state;
    check_reasons_of("../../src/proxyproto/v1.c", "\"v1 ", bad, COUNT(bad));
    check_reasons_of("../../src/proxyproto/internal.h", "\"not a ", bad, COUNT(bad));
}

static void a_whole_line_of_107_bytes_is_the_longest(void **state)
{
    struct proxyproto out;
    char line[200];
    int len;

    (void)state;
    for (int filler = 90; filler < 95; filler++) {
        len = snprintf(line, sizeof(line), "PROXY UNKNOWN%0*d\r\n", filler, 0);
        line[13] = ' ';
        if (len <= PROXYPROTO_V1_MAX) {
            assert_int_equal(parse_copy(line, (size_t)len, &out), PROXYPROTO_OK);
            assert_int_equal(out.length, len);
            continue;
        }
        assert_int_equal(parse_copy(line, (size_t)len, &out), PROXYPROTO_BAD);
        assert_string_equal(out.reason, NOT_TERMINATED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_header_names_its_client),
        cmocka_unit_test(every_proper_prefix_of_a_good_header_asks_for_more),
        cmocka_unit_test(a_bad_header_is_refused_at_its_first_wrong_byte),
        cmocka_unit_test(a_verdict_never_changes_with_more_bytes),
        cmocka_unit_test(every_reason_has_a_test),
        cmocka_unit_test(a_whole_line_of_107_bytes_is_the_longest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
