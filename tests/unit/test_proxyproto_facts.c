/* SPDX-License-Identifier: BSD-2-Clause */
#include "proxyproto_check.h"

#define HEAD "\r\n\r\n\0\r\nQUIT\n\x21\x11"
#define V4   "\xc6\x33\x64\x07\xcb\x00\x71\x09\x9c\x40\x00\x16"

static void read_facts(const char *bytes, size_t len, struct proxyproto_facts *out)
{
    struct proxyproto parsed;

    if (parse_copy(bytes, len, &parsed) != PROXYPROTO_OK)
        fail_msg("refused: %s", parsed.reason);
    proxyproto_facts((const uint8_t *)bytes, &parsed, out);
}

static void check(struct proxyproto_text text, const char *expected)
{
    if (!expected) {
        assert_null(text.bytes);
        assert_int_equal(text.len, 0);
        return;
    }
    assert_non_null(text.bytes);
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.bytes, expected, text.len);
}

#define READ(literal, out) read_facts((literal), sizeof(literal) - 1, (out))

static void a_header_without_tlvs_says_nothing(void **state)
{
    static const char *const headers[] = { "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
                                           "PROXY UNKNOWN\r\n" };
    struct proxyproto_facts facts;

    (void)state;
    for (size_t i = 0; i < COUNT(headers); i++) {
        read_facts(headers[i], strlen(headers[i]), &facts);
        check(facts.authority, NULL);
    }
    READ(HEAD "\x00\x0c" V4, &facts);
    check(facts.unique_id, NULL);
    check(facts.vpce, NULL);
    assert_false(facts.tls_verified);
}

static void each_tlv_is_found_and_the_first_of_two_counts(void **state)
{
    struct proxyproto_facts facts;

    (void)state;
    READ(HEAD "\x00\x2d" V4 "\x01\x00\x02h2\x02\x00\x03"
              "a.b\x05\x00\x02\x00\xff\x02\x00\x01z\xea\x00\x07\x01vpce-1\x04\x00\x00",
         &facts);
    check(facts.alpn, "h2");
    check(facts.authority, "a.b");
    assert_int_equal(facts.unique_id.len, 2);
    assert_memory_equal(facts.unique_id.bytes, "\x00\xff", 2);
    check(facts.vpce, "vpce-1");
    check(facts.tls_version, NULL);
}

static void an_aws_value_of_another_kind_is_no_endpoint(void **state)
{
    struct proxyproto_facts facts;

    (void)state;
    READ(HEAD "\x00\x17" V4 "\xea\x00\x05\x02vpce\xea\x00\x00", &facts);
    check(facts.vpce, NULL);
}

static void tls_is_verified_only_with_a_certificate_and_a_result_of_zero(void **state)
{
    static const struct {
        const char *head;
        bool is_verified;
    } cases[] = {
        { "\x01\x00\x00\x00\x00", false }, { "\x03\x00\x00\x00\x00", true },
        { "\x05\x00\x00\x00\x00", true },  { "\x03\x00\x00\x00\x01", false },
        { "\x03\x01\x00\x00\x00", false },
    };
    struct proxyproto_facts facts;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char header[] = HEAD "\x00\x24" V4 "\x20\x00\x15....."
                             "\x21\x00\x07TLSv1.3\x22\x00\x03"
                             "a.b";
        memcpy(header + 16 + 12 + 3, cases[i].head, 5);
        read_facts(header, sizeof header - 1, &facts);
        check(facts.tls_version, "TLSv1.3");
        check(facts.tls_client_cn, "a.b");
        assert_int_equal(facts.tls_verified, cases[i].is_verified);
    }
}

static void a_header_that_names_no_client_has_no_facts(void **state)
{
    struct proxyproto_facts facts;

    (void)state;
    READ("\r\n\r\n\0\r\nQUIT\n\x20\x11\x00\x12" V4 "\x02\x00\x03"
         "a.b",
         &facts);
    check(facts.authority, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_without_tlvs_says_nothing),
        cmocka_unit_test(each_tlv_is_found_and_the_first_of_two_counts),
        cmocka_unit_test(an_aws_value_of_another_kind_is_no_endpoint),
        cmocka_unit_test(tls_is_verified_only_with_a_certificate_and_a_result_of_zero),
        cmocka_unit_test(a_header_that_names_no_client_has_no_facts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
