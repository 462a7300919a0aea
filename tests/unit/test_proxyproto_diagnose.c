/* SPDX-License-Identifier: BSD-2-Clause */
#include "proxyproto_check.h"

#define ASK                                                                  \
    " (is the PROXY protocol switched on at the load balancer?); for peers " \
    "without it: direct_subnets"

static const struct {
    const char *name;
    const char *bytes;
    size_t len;
    const char *phrase; /* NULL: nothing known */
} cases[] = {
    { "a ClientHello of TLS 1.3", BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
      "looks like a TLS ClientHello" ASK },
    { "its first three bytes", BYTES("\x16\x03\x03"), "looks like a TLS ClientHello" ASK },
    { "a ServerHello", BYTES("\x16\x03\x03\x00\x50\x02"), NULL },
    { "a TLS alert", BYTES("\x15\x03\x03\x00\x02"), NULL },
    { "a handshake byte and another version", BYTES("\x16\x02\x00"), NULL },
    { "an SSH banner", BYTES("SSH-2.0-OpenSSH_9.2p1\r\n"), "looks like an SSH client" ASK },
    { "half of an SSH banner", BYTES("SSH"), NULL },
    { "an HTTP request", BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
      "looks like an HTTP request" ASK },
    { "an HTTP method that begins like PROXY", BYTES("PROPFIND /dav HTTP/1.1\r\n"),
      "looks like an HTTP request" ASK },
    { "the preface of HTTP/2", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      "looks like an HTTP request" ASK },
    { "a word that begins like an HTTP method", BYTES("GETTING"), NULL },
    { "an SMTP greeting", BYTES("EHLO mail.example.org\r\n"), "looks like an SMTP client" ASK },
    { "an SMTP greeting in small letters", BYTES("helo a\r\n"), "looks like an SMTP client" ASK },
    { "silence", BYTES(""),
      "nothing was sent (AWS NLB sends its header only with the client's first byte, so protocols "
      "where the server speaks first stall behind it)" },
    { "a v1 header", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), NULL },
    { "zeros", BYTES("\0\0\0\0"), NULL },
};

static const char *diagnose_copy(const char *bytes, size_t len)
{
    uint8_t *copy = malloc(len);
    const char *phrase;

    if (len > 0)
        memcpy(copy, bytes, len);
    phrase = proxyproto_diagnose(copy, len);
    free(copy);
    return phrase;
}

static void what_is_no_header_is_called_by_its_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *phrase = diagnose_copy(cases[i].bytes, cases[i].len);
        bool is_same = phrase == NULL || cases[i].phrase == NULL
                           ? phrase == cases[i].phrase
                           : strcmp(phrase, cases[i].phrase) == 0;

        if (!is_same)
            fail_msg("%s: %s", cases[i].name, phrase != NULL ? phrase : "nothing");
    }
}

static void a_diagnosis_reads_no_byte_too_far(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t n = 0; n < cases[i].len; n++)
            diagnose_copy(cases[i].bytes, n);
    }
}

static void what_gets_a_diagnosis_is_no_header(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct proxyproto out;

        if (cases[i].phrase != NULL && cases[i].len > 0)
            assert_int_equal(parse_copy(cases[i].bytes, cases[i].len, &out), PROXYPROTO_BAD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_header_is_called_by_its_name),
        cmocka_unit_test(a_diagnosis_reads_no_byte_too_far),
        cmocka_unit_test(what_gets_a_diagnosis_is_no_header),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
