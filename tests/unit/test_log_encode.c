/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/base/log_internal.h"
#include "flat_json.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define FFFD         "\xEF\xBF\xBD"

static struct log_record record_of(const char *message)
{
    return (struct log_record){ .level = LOG_LEVEL_INFO,
                                .time = { .tv_sec = 1795400765, .tv_nsec = 123999999 },
                                .message = message };
}

/* Room to notice a byte too many: the line is LOG_LINE_MAX - 1 at most. */
static char line[LOG_DATAGRAM_MAX + 1];

static const char *text_of(const struct log_record *record)
{
    size_t len = log_encode_text(line, record);
    assert_true(len < LOG_LINE_MAX);
    line[len] = '\0';
    return line;
}

static const char *json_of(const struct log_record *record)
{
    size_t len = log_encode_json(line, record);
    assert_true(len < LOG_JSON_MAX);
    line[len] = '\0';
    return line;
}

static const struct {
    const char *name;
    const char *message;
    const char *text;
    const char *decoded; /* what a JSON reader gets back */
} escapes[] = {
    { "nothing", "", "", "" },
    { "plain words", "[+] ssh: connected", "[+] ssh: connected", "[+] ssh: connected" },
    { "newline and carriage return", "a\nb\r", "a\\x0ab\\x0d", "a\nb\r" },
    { "tab, escape, DEL", "\t\x1b[31m\x7f", "\\x09\\x1b[31m\\x7f", "\t\x1b[31m\x7f" },
    { "quote and backslash", "say \"a\\b\"", "say \"a\\b\"", "say \"a\\b\"" },
    { "two, three and four byte characters", "é€😀", "é€😀", "é€😀" },
    { "a C1 control character", "\xC2\x9B", "\\xc2\\x9b", "\xC2\x9B" },
    { "the first character behind C1", "\xC2\xA0", "\xC2\xA0", "\xC2\xA0" },
    { "a lone continuation byte", "a\x9bz", "a\\x9bz", "a" FFFD "z" },
    { "a sequence cut by the end", "a\xE2\x82", "a\\xe2\\x82", "a" FFFD FFFD },
    { "a sequence cut by a letter", "\xE2\x82z", "\\xe2\\x82z", FFFD FFFD "z" },
    { "a four byte sequence cut", "\xF0\x9F\x98", "\\xf0\\x9f\\x98", FFFD FFFD FFFD },
    { "overlong slash, two bytes", "\xC0\xAF", "\\xc0\\xaf", FFFD FFFD },
    { "overlong, three bytes", "\xE0\x9F\xBF", "\\xe0\\x9f\\xbf", FFFD FFFD FFFD },
    { "overlong, four bytes", "\xF0\x8F\xBF\xBF", "\\xf0\\x8f\\xbf\\xbf", FFFD FFFD FFFD FFFD },
    { "a surrogate", "\xED\xA0\x80", "\\xed\\xa0\\x80", FFFD FFFD FFFD },
    { "the last before the surrogates", "\xED\x9F\xBF", "\xED\x9F\xBF", "\xED\x9F\xBF" },
    { "the last character there is", "\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF" },
    { "past the last", "\xF4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", FFFD FFFD FFFD FFFD },
    { "bytes never used", "\xF5\xFE\xFF", "\\xf5\\xfe\\xff", FFFD FFFD FFFD },
};

static void what_could_forge_a_line_is_escaped(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(escapes); i++) {
        struct log_field field = LOG_TEXT("reason", escapes[i].message);
        struct log_record record = record_of(escapes[i].message);
        record.fields = &field;
        record.n_fields = 1;
        print_message("  %s\n", escapes[i].name);
        assert_string_equal(text_of(&record), escapes[i].text);
        read_object(json_of(&record));
        assert_string_equal(member("message"), escapes[i].decoded);
        assert_string_equal(member("reason"), escapes[i].decoded);
    }
}

static void every_byte_gives_text_in_one_line_and_valid_json(void **state)
{
    (void)state;
    for (unsigned first = 1; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            const char message[] = { (char)first, (char)second, 'x', '\0' };
            struct log_record record = record_of(message);
            for (const char *c = text_of(&record); *c != '\0'; c++)
                assert_true((unsigned char)*c >= 0x20 && *c != 0x7F);
            read_object(json_of(&record));
        }
    }
}

static void json_has_time_level_message_and_fields_in_this_order(void **state)
{
    const struct log_field fields[] = { LOG_TEXT("event", "disconnected"),
                                        LOG_NUMBER("bytes_in", INT64_MAX),
                                        LOG_NUMBER("bytes_out", INT64_MIN),
                                        LOG_NUMBER("duration_ms", 0), LOG_TEXT("reason", "") };
    struct log_record record = record_of("[-] ssh: gone");
    (void)state;
    record.level = LOG_LEVEL_NOTICE;
    record.fields = fields;
    record.n_fields = COUNT(fields);
    assert_string_equal(json_of(&record),
                        "{\"time\":\"2026-11-23T02:26:05.123Z\",\"level\":\"notice\","
                        "\"message\":\"[-] ssh: gone\",\"event\":\"disconnected\","
                        "\"bytes_in\":9223372036854775807,\"bytes_out\":-9223372036854775808,"
                        "\"duration_ms\":0,\"reason\":\"\"}");
    read_object(line);
    assert_int_equal(object.n, 8);
    assert_true(object.members[4].is_number);
    assert_false(object.members[7].is_number);
}

/* Units that are escaped to 1, 2, 3, 4 and 6 bytes, so that every kind meets the cut. */
static const char *const units[] = { "a", "\"", "é", "€", "😀", "\n", "\xff", "a\n", "\xC2\x9B" };

static void fill(char *out, size_t size, size_t lead, const char *unit)
{
    memset(out, '.', lead);
    out[lead] = '\0';
    while (strlen(out) + strlen(unit) < size)
        memcpy(out + strlen(out), unit, strlen(unit) + 1);
}

static void a_cut_never_breaks_a_character_or_an_escape(void **state)
{
    static char message[LOG_LINE_MAX + 8];
    (void)state;
    for (size_t i = 0; i < COUNT(units) * 8; i++) {
        fill(message, sizeof(message), i % 8, units[i / 8]);
        struct log_record record = record_of(message);

        const char *text = text_of(&record);
        assert_true(strlen(text) > LOG_LINE_MAX - 1 - 12);
        assert_string_equal(text + strlen(text) - 3, "...");
        assert_true(text[strlen(text) - 4] != '\\' && text[strlen(text) - 5] != '\\');

        read_object(json_of(&record));
        assert_true(strlen(line) > LOG_LINE_MAX - 1 - 12);
        const char *decoded = member("message");
        assert_string_equal(decoded + strlen(decoded) - 3, "...");
    }
}

static void a_message_that_just_fits_is_not_cut(void **state)
{
    static char message[LOG_LINE_MAX + 8];
    (void)state;
    memset(message, 'm', LOG_LINE_MAX);
    message[LOG_LINE_MAX] = '\0';
    struct log_record record = record_of(message);
    assert_int_equal(strlen(text_of(&record)), LOG_LINE_MAX - 1);
    assert_string_equal(line + LOG_LINE_MAX - 5, "m...");
    message[LOG_LINE_MAX - 1] = '\0';
    assert_string_equal(text_of(&record), message);
}

static void in_json_the_message_is_cut_and_fields_stay(void **state)
{
    static char message[LOG_LINE_MAX + 8];
    const struct log_field fields[] = { LOG_TEXT("reason", "a\n\"b\""), LOG_NUMBER("bytes_in", 7) };
    (void)state;
    fill(message, sizeof(message), 0, "m\n");
    struct log_record record = record_of(message);
    record.fields = fields;
    record.n_fields = COUNT(fields);
    read_object(json_of(&record));
    assert_string_equal(member("reason"), "a\n\"b\"");
    assert_string_equal(member("bytes_in"), "7");
}

static void fields_that_do_not_fit_are_left_out_whole(void **state)
{
    static char value[1024];
    static char message[LOG_LINE_MAX + 8];
    struct log_field fields[64];
    (void)state;
    for (size_t i = 0; i < COUNT(units); i++) {
        fill(value, sizeof(value), 0, units[i]);
        fill(message, sizeof(message), 0, units[i]);
        for (size_t f = 0; f < COUNT(fields); f++)
            fields[f] = LOG_TEXT("reason", value);
        struct log_record record = record_of(message);
        record.fields = fields;
        record.n_fields = COUNT(fields);
        read_object(json_of(&record));
        assert_true(object.n > 3 + 3 && object.n < 3 + COUNT(fields));
        const char *reason = member("reason");
        assert_string_equal(reason + strlen(reason) - 3, "...");
        assert_true(strlen(member("message")) > 60);

        size_t len = log_encode_journal(line, &record);
        assert_true(len <= LOG_DATAGRAM_MAX);
        assert_int_equal(line[len - 1], '\n');
    }
}

static const struct {
    enum log_level level;
    const char *json;
    const char *syslog;
    const char *journal;
} levels[] = {
    { LOG_LEVEL_ERROR, "\"level\":\"error\"", "<27>", "PRIORITY=3\n" },
    { LOG_LEVEL_WARNING, "\"level\":\"warning\"", "<28>", "PRIORITY=4\n" },
    { LOG_LEVEL_NOTICE, "\"level\":\"notice\"", "<29>", "PRIORITY=5\n" },
    { LOG_LEVEL_INFO, "\"level\":\"info\"", "<30>", "PRIORITY=6\n" },
    { LOG_LEVEL_DEBUG, "\"level\":\"debug\"", "<31>", "PRIORITY=7\n" },
};

static void bytes_are_written_whole_with_every_byte_escaped(void **state)
{
    static const char bytes[] = "a\0\n\"\xff"
                                "b";
    const struct log_field fields[] = { LOG_BYTES("authority", bytes, sizeof bytes - 1),
                                        LOG_FLAG("tls_verified", true), LOG_FLAG("other", false) };
    struct log_record record = record_of("m");

    (void)state;
    record.fields = fields;
    record.n_fields = COUNT(fields);
    assert_non_null(strstr(json_of(&record), ",\"authority\":\"a\\u0000\\u000a\\\"" FFFD
                                             "b\",\"tls_verified\":true,\"other\":false}"));
    line[log_encode_journal(line, &record)] = '\0';
    assert_non_null(strstr(line, "\nMMPROXY_AUTHORITY=a\\x00\\x0a\"\\xffb\n"
                                 "MMPROXY_TLS_VERIFIED=true\nMMPROXY_OTHER=false\n"));
}

static void six_times_as_long_as_they_were_all_bytes_are_there(void **state)
{
    static char bytes[LOG_BYTES_MAX + 1];
    struct log_field fields[8];
    struct log_record record = record_of("the message");

    (void)state;
    memset(bytes, 1, LOG_BYTES_MAX);
    for (size_t i = 0; i < COUNT(fields); i++)
        fields[i] = LOG_BYTES("unique_id", bytes, LOG_BYTES_MAX);
    record.fields = fields;
    record.n_fields = 1;
    assert_true(strlen(json_of(&record)) > (size_t)6 * LOG_BYTES_MAX);
    record.n_fields = COUNT(fields);
    assert_non_null(strstr(json_of(&record), "the message"));
    assert_true(log_encode_journal(line, &record) <= LOG_DATAGRAM_MAX);
}

static void every_form_names_the_level(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(levels); i++) {
        struct log_record record = record_of("x");
        record.level = levels[i].level;
        assert_non_null(strstr(json_of(&record), levels[i].json));
        log_encode_syslog_header(line, &record, 1);
        assert_memory_equal(line, levels[i].syslog, strlen(levels[i].syslog));
        log_encode_journal(line, &record);
        assert_memory_equal(line, levels[i].journal, strlen(levels[i].journal));
    }
}

static const struct {
    const char *zone;
    time_t seconds;
    pid_t pid;
    const char *header;
} headers[] = {
    { "UTC0", 1795400765, 1, "<30>Nov 23 02:26:05 mmproxy[1]: " },
    { "XXX-9", 1795400765, 4194304, "<30>Nov 23 11:26:05 mmproxy[4194304]: " },
    { "UTC0", 1798761600, 77, "<30>Jan  1 00:00:00 mmproxy[77]: " },
    { "UTC0", 0, 77, "<30>Jan  1 00:00:00 mmproxy[77]: " },
};

static void the_syslog_header_is_local_time_and_pads_the_day(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(headers); i++) {
        struct log_record record = record_of("x");
        record.time.tv_sec = headers[i].seconds;
        assert_int_equal(setenv("TZ", headers[i].zone, 1), 0);
        tzset();
        line[log_encode_syslog_header(line, &record, headers[i].pid)] = '\0';
        assert_string_equal(line, headers[i].header);
    }
}

static void the_journal_gets_fields_in_capitals_and_no_line_of_strangers(void **state)
{
    const struct log_field fields[] = { LOG_TEXT("event", "bad_header"),
                                        LOG_TEXT("reason", "a\nPRIORITY=0"),
                                        LOG_NUMBER("worker_pid", 4711) };
    struct log_record record = record_of("[?] evil\nMESSAGE=forged");
    (void)state;
    record.fields = fields;
    record.n_fields = COUNT(fields);
    line[log_encode_journal(line, &record)] = '\0';
    assert_string_equal(line, "PRIORITY=6\n"
                              "SYSLOG_FACILITY=3\n"
                              "SYSLOG_IDENTIFIER=mmproxy\n"
                              "MESSAGE=[?] evil\\x0aMESSAGE=forged\n"
                              "MMPROXY_EVENT=bad_header\n"
                              "MMPROXY_REASON=a\\x0aPRIORITY=0\n"
                              "MMPROXY_WORKER_PID=4711\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_could_forge_a_line_is_escaped),
        cmocka_unit_test(every_byte_gives_text_in_one_line_and_valid_json),
        cmocka_unit_test(json_has_time_level_message_and_fields_in_this_order),
        cmocka_unit_test(a_cut_never_breaks_a_character_or_an_escape),
        cmocka_unit_test(a_message_that_just_fits_is_not_cut),
        cmocka_unit_test(in_json_the_message_is_cut_and_fields_stay),
        cmocka_unit_test(fields_that_do_not_fit_are_left_out_whole),
        cmocka_unit_test(bytes_are_written_whole_with_every_byte_escaped),
        cmocka_unit_test(six_times_as_long_as_they_were_all_bytes_are_there),
        cmocka_unit_test(every_form_names_the_level),
        cmocka_unit_test(the_syslog_header_is_local_time_and_pads_the_day),
        cmocka_unit_test(the_journal_gets_fields_in_capitals_and_no_line_of_strangers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
