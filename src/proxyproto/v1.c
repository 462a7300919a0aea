/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The human-readable header (section 2.1), in two steps: a scan that stops at the first byte
 * that no good line can have there, and, once the CRLF is seen, the decoding of the fields.
 * The specification wants it that way round: an address is not looked at before it is whole.
 */
#include <arpa/inet.h>
#include <string.h>

#include "internal.h"

enum {
    SIGNATURE_LEN = 6, /* "PROXY " */
    SHORTEST = 15,     /* "PROXY UNKNOWN\r\n" */
    V4_TEXT_MAX = INET_ADDRSTRLEN - 1,
    V6_TEXT_MAX = INET6_ADDRSTRLEN - 1,
    PORT_TEXT_MAX = 5,
};

enum { SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT, N_FIELDS };

struct field {
    size_t start;
    size_t len;
};

struct line {
    const uint8_t *bytes;
    size_t seen;   /* of bytes; never more than the longest line */
    size_t at;     /* scanned so far */
    size_t length; /* with its CRLF; 0 = not whole yet */
    sa_family_t family;
    struct field fields[N_FIELDS];
};

static const char *const not_crlf = "v1 line does not end with CR and LF";
static const char *const two_spaces = "v1 fields are not separated by exactly one space";
static const char *const too_few = "v1 line has too few fields";

static const char *bad_field(const struct line *line, int field)
{
    static const char *const v4[N_FIELDS] = {
        "v1 source address is not an IPv4 address",
        "v1 destination address is not an IPv4 address",
        "v1 source port is not a number from 0 to 65535",
        "v1 destination port is not a number from 0 to 65535",
    };
    static const char *const v6[N_FIELDS] = {
        [SOURCE] = "v1 source address is not an IPv6 address",
        [DESTINATION] = "v1 destination address is not an IPv6 address",
    };

    if (line->family == AF_INET6 && v6[field])
        return v6[field];
    return v4[field];
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_hex_letter(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

static bool may_hold(const struct line *line, int field, uint8_t byte)
{
    if (is_digit(byte))
        return true;
    if (field >= SOURCE_PORT)
        return false;
    if (line->family == AF_INET)
        return byte == '.';
    return byte == '.' || byte == ':' || is_hex_letter(byte);
}

static size_t field_max(const struct line *line, int field)
{
    if (field >= SOURCE_PORT)
        return PORT_TEXT_MAX;
    return line->family == AF_INET ? V4_TEXT_MAX : V6_TEXT_MAX;
}

/* The byte that ended a field must be the one separator that belongs there. */
static const char *check_separator(const struct line *line, int field)
{
    uint8_t byte = line->bytes[line->at];
    bool is_empty = line->fields[field].len == 0;
    bool is_last = field == DESTINATION_PORT;

    if (byte == '\n')
        return not_crlf;
    if (byte == '\r')
        return is_last && !is_empty ? NULL : too_few;
    if (byte != ' ')
        return bad_field(line, field);
    if (is_empty)
        return two_spaces;
    return is_last ? "v1 line has too many fields" : NULL;
}

static const char *scan_fields(struct line *line)
{
    for (int i = 0; i < N_FIELDS; i++) {
        struct field *field = &line->fields[i];
        const char *reason;

        field->start = line->at;
        while (line->at < line->seen && may_hold(line, i, line->bytes[line->at]))
            line->at++;
        field->len = line->at - field->start;
        if (field->len > field_max(line, i))
            return bad_field(line, i);
        if (line->at == line->seen)
            return NULL;
        reason = check_separator(line, i);
        if (reason)
            return reason;
        line->at++;
    }
    if (line->at == line->seen)
        return NULL;
    if (line->bytes[line->at] != '\n')
        return not_crlf;
    line->length = line->at + 1;
    return NULL;
}

/* Everything between UNKNOWN and the first CRLF is ignored, a lone CR or LF as well. */
static const char *scan_unknown(struct line *line)
{
    for (size_t i = line->at; i + 1 < line->seen; i++) {
        if (line->bytes[i] == '\r' && line->bytes[i + 1] == '\n') {
            line->length = i + 2;
            return NULL;
        }
    }
    return NULL;
}

/* line->at: the byte behind the protocol's name, which is there. */
static const char *scan_rest(struct line *line)
{
    bool has_next = line->at + 1 < line->seen;
    uint8_t byte = line->bytes[line->at];

    if (line->family == AF_UNSPEC) {
        if (byte == '\r' && has_next && line->bytes[line->at + 1] != '\n')
            return not_crlf;
        if (byte == ' ' || byte == '\r')
            return scan_unknown(line);
    } else {
        if (byte == '\r')
            return too_few;
        line->at++;
        if (byte == ' ')
            return scan_fields(line);
    }
    return byte == '\n' ? not_crlf : "v1 protocol is not TCP4, TCP6 or UNKNOWN";
}

static const char *scan(struct line *line)
{
    static const struct {
        char name[8];
        sa_family_t family;
    } protocols[] = { { "TCP4", AF_INET }, { "TCP6", AF_INET6 }, { "UNKNOWN", AF_UNSPEC } };
    size_t n_signature = line->seen < SIGNATURE_LEN ? line->seen : SIGNATURE_LEN;

    if (memcmp(line->bytes, "PROXY ", n_signature) != 0) {
        bool is_named = memcmp(line->bytes, "PROXY ", n_signature - 1) == 0;
        return n_signature == SIGNATURE_LEN && is_named ? "v1 PROXY is not followed by a space"
                                                        : REASON_NO_HEADER;
    }
    if (line->seen <= SIGNATURE_LEN)
        return NULL;
    if (line->bytes[SIGNATURE_LEN] == ' ')
        return two_spaces;

    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        size_t left = line->seen - SIGNATURE_LEN;
        size_t len = strlen(protocols[i].name);

        if (memcmp(line->bytes + SIGNATURE_LEN, protocols[i].name, left < len ? left : len) != 0)
            continue;
        line->family = protocols[i].family;
        line->at = SIGNATURE_LEN + len;
        return left <= len ? NULL : scan_rest(line);
    }
    return "v1 protocol is not TCP4, TCP6 or UNKNOWN";
}

/* inet_pton is as strict as section 2.1: four decimal parts, no leading zero, no names. */
static bool decode_address(const struct line *line, int field, uint8_t bytes[16])
{
    char text[INET6_ADDRSTRLEN];

    memcpy(text, line->bytes + line->fields[field].start, line->fields[field].len);
    text[line->fields[field].len] = '\0';
    return inet_pton(line->family, text, bytes) == 1;
}

static bool decode_port(const struct line *line, int field, uint16_t *port)
{
    const uint8_t *digits = line->bytes + line->fields[field].start;
    size_t len = line->fields[field].len;
    unsigned value = 0;

    if (digits[0] == '0' && len > 1)
        return false;
    for (size_t i = 0; i < len; i++)
        value = value * 10 + (unsigned)(digits[i] - '0');
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

static const char *decode_endpoint(const struct line *line, int address, int port, struct addr *out)
{
    uint8_t bytes[16];
    uint16_t number;

    if (!decode_address(line, address, bytes))
        return bad_field(line, address);
    if (!decode_port(line, port, &number))
        return bad_field(line, port);
    addr_from_bytes(out, line->family, bytes, number);
    addr_unmap(out);
    return NULL;
}

static enum proxyproto_verdict more(const struct line *line, struct proxyproto *out)
{
    /* Both bytes of the CRLF are missing, unless its CR is the last byte there is. */
    size_t needed = line->seen + (line->bytes[line->seen - 1] == '\r' ? 1 : 2);

    if (needed > PROXYPROTO_V1_MAX)
        return verdict_bad(out, "v1 line is not terminated");
    return verdict_more(out, needed > SHORTEST ? needed : SHORTEST);
}

/* The last byte that a line may have counts as the LF of its CRLF or not at all. */
static size_t window(const uint8_t *bytes, size_t len)
{
    if (len < PROXYPROTO_V1_MAX)
        return len;
    return bytes[PROXYPROTO_V1_MAX - 2] == '\r' ? PROXYPROTO_V1_MAX : PROXYPROTO_V1_MAX - 1;
}

enum proxyproto_verdict v1_parse(const uint8_t *bytes, size_t len, struct proxyproto *out)
{
    struct line line = { .bytes = bytes, .seen = window(bytes, len) };
    const char *reason = scan(&line);

    if (reason)
        return verdict_bad(out, reason);
    if (line.length == 0)
        return more(&line, out);
    if (line.family != AF_UNSPEC) {
        reason = decode_endpoint(&line, SOURCE, SOURCE_PORT, &out->client);
        if (!reason)
            reason = decode_endpoint(&line, DESTINATION, DESTINATION_PORT, &out->destination);
        if (reason)
            return verdict_bad(out, reason);
    }
    out->version = 1;
    out->length = line.length;
    out->tlvs_at = line.length;
    out->is_local = line.family == AF_UNSPEC;
    return PROXYPROTO_OK;
}
