/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mmproxy/worker/notes.h"

static struct proxyproto_text text_of(const char *bytes, size_t len)
{
    return (struct proxyproto_text){ .bytes = (const uint8_t *)bytes, .len = len };
}

#define TEXT(s) text_of(s, sizeof(s) - 1)

static void a_text_is_cut_at_256_bytes_and_never_inside_a_character(void **state)
{
    static const struct {
        size_t before; /* letters in front of the character */
        const char *character;
        size_t cut;
    } cases[] = {
        { 255, "a", 256 },
        { 256, "a", 256 },
        { 257, "a", 256 },
        { 255, "\xc3\xa9", 255 },
        { 254, "\xc3\xa9", 256 },
        { 256, "\xc3\xa9", 256 },
        { 254, "\xe2\x82\xac", 254 },
        { 253, "\xe2\x82\xac", 256 },
        { 253, "\xf0\x9f\x98\x80", 253 },
        { 254, "\xf0\x9f\x98\x80", 254 },
        { 255, "\xf0\x9f\x98\x80", 255 },
        { 252, "\xf0\x9f\x98\x80", 256 },
        { 250, "\x80\x80\x80\x80\x80\x80\x80\x80\x80", 256 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char bytes[600];
        struct proxyproto_text text;
        size_t len = strlen(cases[i].character);

        memset(bytes, 'x', sizeof bytes);
        memcpy(bytes + cases[i].before, cases[i].character, len);
        text = text_of(bytes, cases[i].before + len + 20);
        if (notes_cut(&text) != cases[i].cut)
            fail_msg("case %zu: cut at %zu", i, notes_cut(&text));
        text.len = 7;
        assert_int_equal(notes_cut(&text), 7);
    }
}

static void what_the_header_does_not_say_is_no_field(void **state)
{
    struct proxyproto_facts facts = { .tls_verified = true };
    struct log_field fields[NOTES_FIELDS_MAX];
    struct notes *notes;

    (void)state;
    assert_null(notes_new(&facts));
    facts.authority = TEXT("service.example.org");
    notes = notes_new(&facts);
    assert_int_equal(notes_fields(notes, fields), 1);
    assert_string_equal(fields[0].key, "authority");
    assert_string_equal(fields[0].text, "service.example.org");
    assert_int_equal(fields[0].len, 19);
    free(notes);
}

static void every_fact_is_a_field(void **state)
{
    static const char *const keys[] = { "unique_id",     "authority",    "alpn", "tls_version",
                                        "tls_client_cn", "tls_verified", "vpce" };
    struct proxyproto_facts facts = { .unique_id = TEXT("a\0b"),
                                      .authority = TEXT("b"),
                                      .alpn = TEXT("h2"),
                                      .tls_version = TEXT("TLSv1.3"),
                                      .tls_client_cn = TEXT("joe"),
                                      .tls_verified = true,
                                      .vpce = TEXT("vpce-1") };
    struct log_field fields[NOTES_FIELDS_MAX];
    struct notes *notes = notes_new(&facts);

    (void)state;
    assert_int_equal(notes_fields(notes, fields), NOTES_FIELDS_MAX);
    for (size_t i = 0; i < NOTES_FIELDS_MAX; i++)
        assert_string_equal(fields[i].key, keys[i]);
    assert_int_equal(fields[0].len, 3);
    assert_memory_equal(fields[0].text, "a\0b", 4);
    assert_true(fields[5].is_flag);
    assert_int_equal(fields[5].number, 1);
    assert_string_equal(fields[6].text, "vpce-1");
    free(notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_cut_at_256_bytes_and_never_inside_a_character),
        cmocka_unit_test(what_the_header_does_not_say_is_no_field),
        cmocka_unit_test(every_fact_is_a_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
