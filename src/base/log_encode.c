/* SPDX-License-Identifier: BSD-2-Clause */
/* The form of a line of the log: text with control characters escaped, JSON, the journal's
 * fields. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "log_internal.h"

/* A field is written only where all of it fits: it is never cut in the middle. */
enum { FIELD_AROUND = LOG_KEY_MAX + 16, DOTS = 3 };

enum escape { ESCAPE_TEXT, ESCAPE_JSON };

struct out {
    char *bytes;
    size_t len;
    size_t end; /* bytes may hold that many */
};

/* Indexed by enum log_level. */
static const char *const level_names[] = { "error", "warning", "notice", "info", "debug" };
static const int severities[] = { LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

static void put_bytes(struct out *out, const char *bytes, size_t len)
{
    assert(len <= out->end - out->len);
    memcpy(out->bytes + out->len, bytes, len);
    out->len += len;
}

static void put(struct out *out, const char *text)
{
    put_bytes(out, text, strlen(text));
}

static void put_number(struct out *out, int64_t number)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRId64, number);
    put_bytes(out, digits, (size_t)len);
}

/*
 * Bytes of the well-formed UTF-8 sequence that text starts with; 0 where there is none. The
 * NUL at the end is no continuation byte, so nothing behind it is read.
 */
static size_t utf8_length(const unsigned char *text)
{
    unsigned char first = text[0], low = 0x80, high = 0xBF;
    if (first < 0x80)
        return 1;
    if (first < 0xC2 || first > 0xF4)
        return 0;
    if (first == 0xE0)
        low = 0xA0; /* below: overlong */
    else if (first == 0xED)
        high = 0x9F; /* above: a surrogate */
    else if (first == 0xF0)
        low = 0x90; /* below: overlong */
    else if (first == 0xF4)
        high = 0x8F; /* above: past U+10FFFF */
    if (text[1] < low || text[1] > high)
        return 0;

    size_t len = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    for (size_t i = 2; i < len; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    }
    return len;
}

/* C0, DEL and C1: a terminal obeys them, and a newline would start a line that we never wrote. */
static bool is_control(const unsigned char *text)
{
    return text[0] < 0x20 || text[0] == 0x7F || (text[0] == 0xC2 && text[1] < 0xA0);
}

/* The next character of text as it is to be written; returns how many bytes of text it was. */
static size_t escape_next(struct out *unit, const char *text, enum escape escape)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t len = utf8_length(bytes);
    size_t eaten = len > 0 ? len : 1;
    char hex[8];

    if (len > 0 && !is_control(bytes)) {
        if (escape == ESCAPE_JSON && (text[0] == '"' || text[0] == '\\'))
            put(unit, "\\");
        put_bytes(unit, text, len);
    } else if (escape == ESCAPE_TEXT) {
        for (size_t i = 0; i < eaten; i++) {
            snprintf(hex, sizeof hex, "\\x%02x", (unsigned)bytes[i]);
            put(unit, hex);
        }
    } else if (len > 0) {
        /* The last byte of a control character's encoding is its code, C1 included. */
        snprintf(hex, sizeof hex, "\\u%04x", (unsigned)bytes[len - 1]);
        put(unit, hex);
    } else {
        put(unit, "\xEF\xBF\xBD");
    }
    return eaten;
}

/* Appends text, at most up to limit; cuts between characters and escapes, never inside one. */
static void put_escaped(struct out *out, size_t limit, const char *text, enum escape escape)
{
    size_t cut = out->len; /* the last place that leaves room for the dots */
    assert(limit <= out->end && cut + DOTS <= limit);

    while (*text != '\0') {
        char room[8] = "";
        struct out unit = { .bytes = room, .end = sizeof room };
        text += escape_next(&unit, text, escape);
        if (unit.len > limit - out->len) {
            out->len = cut;
            put(out, "...");
            return;
        }
        put_bytes(out, room, unit.len);
        if (out->len + DOTS <= limit)
            cut = out->len;
    }
}

static size_t escape_bytes(struct out *out, const struct log_field *field, enum escape escape)
{
    size_t len = 0;

    for (size_t at = 0; at < field->len;) {
        char room[8] = "";
        struct out unit = { .bytes = room, .end = sizeof room };
        at += escape_next(&unit, field->text + at, escape);
        len += unit.len;
        if (out)
            put_bytes(out, room, unit.len);
    }
    return len;
}

static void put_value(struct out *out, const struct log_field *field, enum escape escape)
{
    if (field->len > 0)
        (void)escape_bytes(out, field, escape);
    else
        put_escaped(out, out->len + LOG_VALUE_MAX, field->text, escape);
}

static void put_number_or_flag(struct out *out, const struct log_field *field)
{
    if (field->is_flag)
        put(out, field->number ? "true" : "false");
    else
        put_number(out, field->number);
}

static bool has_room_for_field(const struct out *out, const struct log_field *field,
                               enum escape escape)
{
    size_t value = field->len > 0 ? escape_bytes(NULL, field, escape) : (size_t)LOG_VALUE_MAX;

    assert(strlen(field->key) <= LOG_KEY_MAX && field->len <= LOG_BYTES_MAX);
    return out->end - out->len >= FIELD_AROUND + value;
}

static void put_json_field(struct out *out, const struct log_field *field)
{
    if (!has_room_for_field(out, field, ESCAPE_JSON))
        return;
    put(out, ",\"");
    put(out, field->key);
    put(out, "\":");
    if (!field->text) {
        put_number_or_flag(out, field);
        return;
    }
    put(out, "\"");
    put_value(out, field, ESCAPE_JSON);
    put(out, "\"");
}

static void put_json_time(struct out *out, const struct timespec *time)
{
    char text[64];
    struct tm utc;
    gmtime_r(&time->tv_sec, &utc);
    size_t len = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    put_bytes(out, text, len);
    snprintf(text, sizeof text, ".%03uZ", (unsigned)(time->tv_nsec / 1000000) % 1000);
    put(out, text);
}

size_t log_encode_text(char out_bytes[LOG_LINE_MAX], const struct log_record *record)
{
    struct out out = { .bytes = out_bytes, .end = LOG_LINE_MAX - 1 };
    put_escaped(&out, out.end, record->message, ESCAPE_TEXT);
    return out.len;
}

size_t log_encode_json(char out_bytes[LOG_JSON_MAX], const struct log_record *record)
{
    /* Fields first: what they leave is the message's, so it is the message that is cut. */
    char field_bytes[LOG_FIELDS_MAX];
    struct out fields = { .bytes = field_bytes, .end = sizeof field_bytes };
    for (size_t i = 0; i < record->n_fields; i++)
        put_json_field(&fields, &record->fields[i]);

    struct out out = { .bytes = out_bytes, .end = LOG_JSON_MAX - 1 };
    put(&out, "{\"time\":\"");
    put_json_time(&out, &record->time);
    put(&out, "\",\"level\":\"");
    put(&out, level_names[record->level]);
    put(&out, "\",\"message\":\"");
    size_t behind = fields.len + strlen("\"}");
    size_t end = out.len + LOG_JSON_MESSAGE;
    if (end + behind < LOG_LINE_MAX - 1)
        end = LOG_LINE_MAX - 1 - behind;
    put_escaped(&out, end, record->message, ESCAPE_JSON);
    put(&out, "\"");
    put_bytes(&out, fields.bytes, fields.len);
    put(&out, "}");
    return out.len;
}

size_t log_encode_syslog_header(char out[LOG_HEADER_MAX], const struct log_record *record,
                                pid_t pid)
{
    /* RFC 3164, 4.1.2: English names whatever the locale, the day padded with a space. */
    static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    struct tm local;
    localtime_r(&record->time.tv_sec, &local);
    int len = snprintf(out, LOG_HEADER_MAX, "<%d>%s %2d %02d:%02d:%02d mmproxy[%ld]: ",
                       LOG_DAEMON | severities[record->level], months[local.tm_mon], local.tm_mday,
                       local.tm_hour, local.tm_min, local.tm_sec, (long)pid);
    assert(len > 0 && len < LOG_HEADER_MAX);
    return (size_t)len;
}

static void put_journal_field(struct out *out, const struct log_field *field)
{
    if (!has_room_for_field(out, field, ESCAPE_TEXT))
        return;
    put(out, "MMPROXY_");
    for (const char *key = field->key; *key != '\0'; key++) {
        char upper = *key >= 'a' && *key <= 'z' ? (char)(*key - 'a' + 'A') : *key;
        put_bytes(out, &upper, 1);
    }
    put(out, "=");
    if (field->text)
        put_value(out, field, ESCAPE_TEXT);
    else
        put_number_or_flag(out, field);
    put(out, "\n");
}

size_t log_encode_journal(char out_bytes[LOG_DATAGRAM_MAX], const struct log_record *record)
{
    /* KEY=value lines: escaping leaves no newline, so the form for binary values isn't needed. */
    struct out out = { .bytes = out_bytes, .end = LOG_DATAGRAM_MAX };
    put(&out, "PRIORITY=");
    put_number(&out, severities[record->level]);
    put(&out, "\nSYSLOG_FACILITY=");
    put_number(&out, LOG_FAC(LOG_DAEMON));
    put(&out, "\nSYSLOG_IDENTIFIER=mmproxy\nMESSAGE=");
    put_escaped(&out, out.len + LOG_LINE_MAX, record->message, ESCAPE_TEXT);
    put(&out, "\n");
    for (size_t i = 0; i < record->n_fields; i++)
        put_journal_field(&out, &record->fields[i]);
    return out.len;
}
