/* SPDX-License-Identifier: BSD-2-Clause */
#include "proxyproto_check.h"

#define SIG    "\r\n\r\n\0\r\nQUIT\n"
#define PROXY  "\x21"
#define LOCAL  "\x20"
#define UNSPEC "\x00"
#define TCP4   "\x11"
#define UDP4   "\x12"
#define TCP6   "\x21"

/* 198.51.100.7:40000 to 203.0.113.9:22, and 2001:db8::7 to 2001:db8::1 with the same ports. */
#define PORTS "\x9c\x40\x00\x16"
#define V4    "\xc6\x33\x64\x07\xcb\x00\x71\x09" PORTS
#define V6                                                             \
    "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" \
    "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" PORTS
#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff"
#define ZEROS7 "\0\0\0\0\0\0\0"

#define CLIENT4      "198.51.100.7:40000"
#define DESTINATION4 "203.0.113.9:22"
#define CLIENT6      "[2001:db8::7]:40000"
#define DESTINATION6 "[2001:db8::1]:22"

static const struct good_header good[] = {
    { "TCP over IPv4", BYTES(SIG PROXY TCP4 "\x00\x0c" V4), CLIENT4, DESTINATION4 },
    { "TCP over IPv6", BYTES(SIG PROXY TCP6 "\x00\x24" V6), CLIENT6, DESTINATION6 },
    { "a v4-mapped client is an IPv4 one",
      BYTES(SIG PROXY TCP6 "\x00\x24" MAPPED "\xc6\x33\x64\x07" MAPPED "\xcb\x00\x71\x09" PORTS),
      CLIENT4, DESTINATION4 },
    { "a CRC32c", BYTES(SIG PROXY TCP4 "\x00\x13" V4 "\x03\x00\x04\x55\xa5\x58\xd1"), CLIENT4,
      DESTINATION4 },
    { "a CRC32c between other TLVs",
      BYTES(SIG PROXY TCP4 "\x00\x1e" V4 "\x04\x00\x02"
                           "ab\x03\x00\x04\xc8\xe1\x4e\xef\x05\x00\x03xyz"),
      CLIENT4, DESTINATION4 },
    { "NOOPs, an empty one as well",
      BYTES(SIG PROXY TCP4 "\x00\x14" V4 "\x04\x00\x00\x04\x00\x02\xff\xff"), CLIENT4,
      DESTINATION4 },
    { "ALPN, authority, namespace and types of applications and of the future",
      BYTES(SIG PROXY TCP4 "\x00\x29" V4 "\x01\x00\x02h2\x02\x00\x03"
                           "a.b\x30\x00\x02ns\xea\x00\x01\x01\xf0\x00\x00\xff\x00\x03"
                           "abc"),
      CLIENT4, DESTINATION4 },
    { "SSL without sub-TLVs",
      BYTES(SIG PROXY TCP4 "\x00\x14" V4 "\x20\x00\x05\x00\x00\x00\x00\x01"), CLIENT4,
      DESTINATION4 },
    { "SSL with version and common name",
      BYTES(SIG PROXY TCP4 "\x00\x21" V4 "\x20\x00\x12\x03\x00\x00\x00\x00"
                           "\x21\x00\x04TLS1\x22\x00\x03"
                           "a.b"),
      CLIENT4, DESTINATION4 },
    { "an SSL sub-TLV of the CRC32c's type is none",
      BYTES(SIG PROXY TCP4 "\x00\x17" V4 "\x20\x00\x08\x01\x00\x00\x00\x00\x03\x00\x00"), CLIENT4,
      DESTINATION4 },
    { "UNSPEC without anything", BYTES(SIG PROXY UNSPEC "\x00\x00"), NULL, NULL },
    { "UNSPEC with bytes that are no TLVs", BYTES(SIG PROXY UNSPEC "\x00\x02\xff\xff"), NULL,
      NULL },
    { "UNSPEC with a CRC32c", BYTES(SIG PROXY UNSPEC "\x00\x07\x03\x00\x04\x3e\xc9\x89\x4e"), NULL,
      NULL },
    { "AF_UNSPEC with STREAM", BYTES(SIG PROXY "\x01\x00\x00"), NULL, NULL },
    { "AF_UNSPEC with DGRAM", BYTES(SIG PROXY "\x02\x00\x00"), NULL, NULL },
    { "IPv4 with an unspecified transport", BYTES(SIG PROXY "\x10\x00\x0c" V4), NULL, NULL },
    { "IPv6 with an unspecified transport and no addresses", BYTES(SIG PROXY "\x20\x00\x00"), NULL,
      NULL },
    { "LOCAL", BYTES(SIG LOCAL UNSPEC "\x00\x00"), NULL, NULL },
    { "LOCAL with a CRC32c", BYTES(SIG LOCAL UNSPEC "\x00\x07\x03\x00\x04\xa9\xb8\x7e\x8f"), NULL,
      NULL },
    { "LOCAL with an address block", BYTES(SIG LOCAL TCP4 "\x00\x0c" V4), NULL, NULL },
    { "LOCAL with a zeroed address block", BYTES(SIG LOCAL TCP4 "\x00\x0c" ZEROS7 "\0\0\0\0\0"),
      NULL, NULL },
    { "LOCAL with an address block and a CRC32c",
      BYTES(SIG LOCAL TCP4 "\x00\x13" V4 "\x03\x00\x04\x20\x76\xa8\xe9"), NULL, NULL },
    { "LOCAL with bytes that are no TLVs", BYTES(SIG LOCAL UNSPEC "\x00\x05\xff\xff\xff\xff\xff"),
      NULL, NULL },
    { "LOCAL of UDP", BYTES(SIG LOCAL UDP4 "\x00\x0c" V4), NULL, NULL },
    { "LOCAL with a family that is not assigned", BYTES(SIG LOCAL "\xff\x00\x00"), NULL, NULL },
    { "LOCAL over IPv4 without addresses", BYTES(SIG LOCAL TCP4 "\x00\x00"), NULL, NULL },
    { "LOCAL over IPv6 with too few bytes for addresses", BYTES(SIG LOCAL TCP6 "\x00\x0c" V4), NULL,
      NULL },
    { "a health check of AWS: TLVs where the addresses belong",
      BYTES(SIG LOCAL TCP4 "\x00\x54\x03\x00\x04\xbc\xe5\x95\x1f\x04\x00\x4a" ZEROS7 ZEROS7 ZEROS7
                ZEROS7 ZEROS7 ZEROS7 ZEROS7 ZEROS7 ZEROS7 ZEROS7 "\0\0\0\0"),
      NULL, NULL },
};

#define NO_HEADER    "not a PROXY protocol header"
#define BAD_COMMAND  "v2 command is neither LOCAL nor PROXY"
#define BAD_VERSION  "v2 version is not 2"
#define BAD_FAMILY   "v2 address family is not assigned"
#define BAD_PROTOCOL "v2 transport protocol is not assigned"
#define IS_UNIX      "v2 header says UNIX socket, not TCP"
#define IS_UDP       "v2 header says UDP, not TCP"
#define TOO_SHORT    "v2 length is too short for the addresses"
#define NO_HEAD      "v2 TLV has no room for its type and length"
#define TLV_TOO_LONG "v2 TLV is longer than what is left of the header"
#define BAD_CRC      "v2 CRC32c does not match"
#define CRC_SIZE     "v2 CRC32c TLV is not 4 bytes long"

static const struct bad_header bad[] = {
    { "a first wrong byte in the signature", BYTES("\r\r"), NO_HEADER },
    { "a last wrong byte in the signature", BYTES("\r\n\r\n\0\r\nQUIT\r"), NO_HEADER },
    { "empty lines", BYTES("\r\n\r\n\r"), NO_HEADER },
    { "version 1", BYTES(SIG "\x11"), BAD_VERSION },
    { "version 3", BYTES(SIG "\x31"), BAD_VERSION },
    { "command 2", BYTES(SIG "\x22"), BAD_COMMAND },
    { "command 15", BYTES(SIG "\x2f"), BAD_COMMAND },
    { "family 4", BYTES(SIG PROXY "\x41"), BAD_FAMILY },
    { "family 15, transport 15", BYTES(SIG PROXY "\xff"), BAD_FAMILY },
    { "transport 3", BYTES(SIG PROXY "\x13"), BAD_PROTOCOL },
    { "AF_UNSPEC with transport 3", BYTES(SIG PROXY "\x03"), BAD_PROTOCOL },
    { "UDP over IPv4", BYTES(SIG PROXY UDP4), IS_UDP },
    { "UDP over IPv6", BYTES(SIG PROXY "\x22"), IS_UDP },
    { "UNIX stream", BYTES(SIG PROXY "\x31"), IS_UNIX },
    { "UNIX datagram", BYTES(SIG PROXY "\x32"), IS_UNIX },
    { "UNIX, transport unspecified", BYTES(SIG PROXY "\x30"), IS_UNIX },
    { "IPv4 without addresses", BYTES(SIG PROXY TCP4 "\x00\x00"), TOO_SHORT },
    { "IPv4 with 11 bytes", BYTES(SIG PROXY TCP4 "\x00\x0b"), TOO_SHORT },
    { "IPv6 with 35 bytes", BYTES(SIG PROXY TCP6 "\x00\x23"), TOO_SHORT },
    { "one byte behind the addresses", BYTES(SIG PROXY TCP4 "\x00\x0d" V4 "\x04"), NO_HEAD },
    { "two bytes behind a TLV", BYTES(SIG PROXY TCP4 "\x00\x11" V4 "\x04\x00\x00\x04\x00"),
      NO_HEAD },
    { "a TLV that is one byte too long", BYTES(SIG PROXY TCP4 "\x00\x10" V4 "\x04\x00\x02x"),
      TLV_TOO_LONG },
    { "a TLV of 65535 bytes that are not there", BYTES(SIG PROXY TCP4 "\x00\x0f" V4 "\xe0\xff\xff"),
      TLV_TOO_LONG },
    { "a wrong CRC32c", BYTES(SIG PROXY TCP4 "\x00\x13" V4 "\x03\x00\x04\x55\xa5\x58\xd0"),
      BAD_CRC },
    { "a CRC32c in the other byte order",
      BYTES(SIG PROXY TCP4 "\x00\x13" V4 "\x03\x00\x04\xd1\x58\xa5\x55"), BAD_CRC },
    { "a CRC32c of zeros", BYTES(SIG PROXY TCP4 "\x00\x13" V4 "\x03\x00\x04\0\0\0\0"), BAD_CRC },
    { "a wrong CRC32c in a LOCAL header",
      BYTES(SIG LOCAL UNSPEC "\x00\x07\x03\x00\x04\xa9\xb8\x7e\x8e"), BAD_CRC },
    { "a wrong CRC32c behind a LOCAL header's addresses",
      BYTES(SIG LOCAL TCP4 "\x00\x13" V4 "\x03\x00\x04\x20\x76\xa8\xe8"), BAD_CRC },
    { "a wrong CRC32c in an UNSPEC header",
      BYTES(SIG PROXY UNSPEC "\x00\x07\x03\x00\x04\xa9\xb8\x7e\x8f"), BAD_CRC },
    { "a CRC32c of 3 bytes", BYTES(SIG PROXY TCP4 "\x00\x12" V4 "\x03\x00\x03\x55\xa5\x58"),
      CRC_SIZE },
    { "a CRC32c of 5 bytes", BYTES(SIG PROXY TCP4 "\x00\x14" V4 "\x03\x00\x05\x55\xa5\x58\xd1\0"),
      CRC_SIZE },
    { "two CRC32c",
      BYTES(SIG PROXY TCP4 "\x00\x1a" V4
                           "\x03\x00\x04\x55\xa5\x58\xd1\x03\x00\x04\x55\xa5\x58\xd1"),
      "v2 CRC32c TLV is repeated" },
    { "SSL of 4 bytes", BYTES(SIG PROXY TCP4 "\x00\x13" V4 "\x20\x00\x04\x01\x00\x00\x00"),
      "v2 SSL TLV is shorter than 5 bytes" },
    { "an empty SSL", BYTES(SIG PROXY TCP4 "\x00\x0f" V4 "\x20\x00\x00"),
      "v2 SSL TLV is shorter than 5 bytes" },
    { "an SSL sub-TLV of two bytes",
      BYTES(SIG PROXY TCP4 "\x00\x16" V4 "\x20\x00\x07\x01\x00\x00\x00\x00\x21\x00"),
      "v2 SSL sub-TLV has no room for its type and length" },
    { "an SSL sub-TLV that reaches into the next TLV",
      BYTES(SIG PROXY TCP4 "\x00\x1a" V4
                           "\x20\x00\x08\x01\x00\x00\x00\x00\x21\x00\x01\x04\x00\x00"),
      "v2 SSL sub-TLV is longer than what is left of the SSL TLV" },
    { "a unique ID of 129 bytes",
      BYTES(SIG PROXY TCP4 "\x00\x90" V4 "\x05\x00\x81"
                           "0123456789012345678901234567890123456789012345678901234567890123"
                           "0123456789012345678901234567890123456789012345678901234567890123"
                           "4"),
      "v2 unique ID is longer than 128 bytes" },
};

static void a_good_header_names_its_client(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        check_good(&good[i], 2);
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
    check_reasons_of("../../src/proxyproto/v2.c", "\"v2 ", bad, COUNT(bad));
    check_reasons_of("../../src/proxyproto/tlv.c", "\"v2 ", bad, COUNT(bad));
    check_reasons_of("../../src/proxyproto/internal.h", "\"not a ", bad, COUNT(bad));
}

/* Every value of bytes 13 and 14 against the specification's lists, not against our code. */
static void only_assigned_values_of_the_fixed_part_pass(void **state)
{
    (void)state;
    for (unsigned value = 0; value <= 0xffff; value++) {
        uint8_t header[16 + 36] = SIG;
        unsigned command = value >> 8;
        unsigned family = value >> 4 & 15;
        unsigned transport = value & 15;
        bool is_tcp = transport == 1 && (family == 1 || family == 2);
        bool is_unspec = (family == 0 && transport <= 2) || (transport == 0 && family <= 2);
        bool is_good = command == 0x20 || (command == 0x21 && (is_tcp || is_unspec));
        struct proxyproto out;
        enum proxyproto_verdict verdict;

        header[12] = (uint8_t)command;
        header[13] = (uint8_t)value;
        header[15] = family == 1 ? 12 : 36;
        verdict = parse_copy(header, 16U + header[15], &out);
        if ((verdict == PROXYPROTO_OK) != is_good ||
            (is_good && out.is_local == (command == 0x21 && is_tcp)))
            fail_msg("bytes 13 and 14 are %04x: verdict %d", value, (int)verdict);
        verdict = parse_copy(header, 14, &out);
        if (verdict != (is_good ? PROXYPROTO_MORE : PROXYPROTO_BAD))
            fail_msg("bytes 13 and 14 are %04x: verdict %d at byte 14", value, (int)verdict);
    }
}

static void a_unique_id_of_128_bytes_is_fine(void **state)
{
    uint8_t header[16 + 12 + 3 + 128] = SIG PROXY TCP4 "\x00\x8f" V4 "\x05\x00\x80";
    struct proxyproto out;

    (void)state;
    assert_int_equal(parse_copy(header, sizeof(header), &out), PROXYPROTO_OK);
}

/* Bit by bit, from RFC 4960's definition: shares nothing with the code under test. */
static uint32_t slow_crc32c(const uint8_t *bytes, size_t len)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
    }
    return ~crc;
}

static void the_longest_header_of_65551_bytes_is_taken_whole_and_in_pieces(void **state)
{
    static const char start[] = SIG PROXY TCP6 "\xff\xff" V6 "\x03\x00\x04";
    enum { AT_CRC = 16 + 36 + 3, FILLER = 65535 - 36 - 7 - 3 };
    uint8_t *header = calloc(1, PROXYPROTO_MAX);
    struct proxyproto out;
    uint32_t crc;

    (void)state;
    memcpy(header, start, sizeof(start) - 1);
    header[AT_CRC + 4] = 0x04;
    header[AT_CRC + 5] = FILLER >> 8;
    header[AT_CRC + 6] = FILLER & 0xff;
    for (size_t i = AT_CRC + 7; i < PROXYPROTO_MAX; i++)
        header[i] = (uint8_t)(i * 7);
    crc = slow_crc32c(header, PROXYPROTO_MAX);
    for (unsigned i = 0; i < 4; i++)
        header[AT_CRC + i] = (uint8_t)(crc >> (24 - 8 * i));

    for (size_t n = 16; n < PROXYPROTO_MAX; n++) {
        assert_int_equal(proxyproto_parse(header, n, &out), PROXYPROTO_MORE);
        assert_int_equal(out.needed, PROXYPROTO_MAX);
    }
    assert_int_equal(parse_copy(header, PROXYPROTO_MAX, &out), PROXYPROTO_OK);
    assert_int_equal(out.length, PROXYPROTO_MAX);
    header[PROXYPROTO_MAX - 1] ^= 1;
    assert_int_equal(parse_copy(header, PROXYPROTO_MAX, &out), PROXYPROTO_BAD);
    assert_string_equal(out.reason, BAD_CRC);
    free(header);
}

static void every_flipped_bit_of_a_header_with_a_crc32c_is_noticed(void **state)
{
    char header[] = SIG PROXY TCP4 "\x00\x13" V4 "\x03\x00\x04\x55\xa5\x58\xd1";
    struct proxyproto out;

    (void)state;
    /* Not where the flip hides the checksum: the TLV's type and length, and AF_INET itself,
     * as nobody knows where the TLVs of AF_UNSPEC begin if addresses stand before them. */
    for (size_t bit = 0; bit < 8 * (sizeof(header) - 1); bit++) {
        if ((bit / 8 >= 28 && bit / 8 < 31) || bit == 8 * 13 + 4)
            continue;
        header[bit / 8] = (char)(header[bit / 8] ^ 1 << bit % 8);
        if (parse_copy(header, sizeof(header) - 1, &out) == PROXYPROTO_OK)
            fail_msg("bit %zu", bit);
        header[bit / 8] = (char)(header[bit / 8] ^ 1 << bit % 8);
    }
}

static void crc32c_gives_the_known_values_in_any_pieces(void **state)
{
    static const uint8_t digits[] = "123456789";
    static const uint8_t zeros[32];

    (void)state;
    assert_int_equal(crc32c(0, digits, 0), 0);
    assert_int_equal(crc32c(0, digits, 9), 0xe3069283);
    assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aa); /* RFC 3720, B.4 */
    for (size_t n = 0; n <= 9; n++)
        assert_int_equal(crc32c(crc32c(0, digits, n), digits + n, 9 - n), 0xe3069283);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_header_names_its_client),
        cmocka_unit_test(every_proper_prefix_of_a_good_header_asks_for_more),
        cmocka_unit_test(a_bad_header_is_refused_at_its_first_wrong_byte),
        cmocka_unit_test(a_verdict_never_changes_with_more_bytes),
        cmocka_unit_test(every_reason_has_a_test),
        cmocka_unit_test(only_assigned_values_of_the_fixed_part_pass),
        cmocka_unit_test(a_unique_id_of_128_bytes_is_fine),
        cmocka_unit_test(the_longest_header_of_65551_bytes_is_taken_whole_and_in_pieces),
        cmocka_unit_test(every_flipped_bit_of_a_header_with_a_crc32c_is_noticed),
        cmocka_unit_test(crc32c_gives_the_known_values_in_any_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
