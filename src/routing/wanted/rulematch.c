/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/rulematch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/base/subnets.h"

const char *rulematch_skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

const char *rulematch_next_line(const char *at)
{
    at += strcspn(at, "\n");
    return *at == '\n' ? at + 1 : at;
}

bool rulematch_take(const char **at, const char *words)
{
    size_t len = strlen(words);

    if (strncmp(*at, words, len) != 0 || !strchr(" \t\n;,", (*at)[len]))
        return false;
    *at = rulematch_skip_blanks(*at + len);
    return true;
}

const char *rulematch_word(const char **at, char out[RULEMATCH_WORD_MAX])
{
    size_t len = strcspn(*at, " \t\n,");
    const char *from = *at;
    size_t n = 0;

    for (size_t i = 0; i < len && n < RULEMATCH_WORD_MAX - 1; i++) {
        if (from[i] != '"' && from[i] != ';')
            out[n++] = from[i];
    }
    out[n] = '\0';
    *at = rulematch_skip_blanks(from + len + (from[len] == ','));
    return out;
}

const char *rulematch_find(const char *text, const char *table, const char *kind, const char *name)
{
    char here[RULEMATCH_NAME_MAX] = "";
    char word[RULEMATCH_WORD_MAX];

    for (const char *at = text; *at != '\0'; at = rulematch_next_line(at)) {
        const char *line = rulematch_skip_blanks(at);

        if (rulematch_take(&line, "table")) {
            char family[RULEMATCH_WORD_MAX];

            rulematch_word(&line, family);
            snprintf(here, sizeof here, "%s %s", family, rulematch_word(&line, word));
        } else if (rulematch_take(&line, kind) && strcmp(here, table) == 0 &&
                   strcmp(rulematch_word(&line, word), name) == 0) {
            return rulematch_next_line(at);
        }
    }
    return NULL;
}

typedef bool compare(const char *value, const struct ruleset_packet *packet);

/* Steps over what an element has besides its value: a timeout, a counter. returns: is there more?
 */
static bool next_element(const char **at)
{
    *at += strcspn(*at, ",}");
    if (**at != ',')
        return false;
    *at += 1 + strspn(*at + 1, " \t\n");
    return true;
}

/* at: behind "elements = {", over several lines. */
static bool has_element(const char *at, const struct ruleset_packet *packet, compare *is)
{
    char value[RULEMATCH_WORD_MAX];
    bool has = false;

    at += strspn(at, " \t\n");
    do {
        const char *from = at;

        has = is(rulematch_word(&from, value), packet);
    } while (!has && next_element(&at));
    return has;
}

/* "@name": of a set whose elements are in the text, each of them one value. */
static enum rulematch match_set(const char *name, const struct rulematch_place *place, compare *is)
{
    const char *at = rulematch_find(place->ruleset->text, place->table, "set", name);

    for (; at && *at != '\0'; at = rulematch_next_line(at)) {
        const char *line = rulematch_skip_blanks(at);

        if (*line == '}')
            return RULEMATCH_NO; /* there are none in it */
        if (rulematch_take(&line, "type")) {
            size_t len = strcspn(line, "\n");

            if (memchr(line, '.', len))
                return RULEMATCH_UNKNOWN;
        } else if (rulematch_take(&line, "typeof")) {
            return RULEMATCH_UNKNOWN;
        } else if (rulematch_take(&line, "elements = {")) {
            return has_element(line, place->packet, is) ? RULEMATCH_YES : RULEMATCH_NO;
        }
    }
    return RULEMATCH_UNKNOWN;
}

static enum rulematch match_reference(const char **at, const struct rulematch_place *place,
                                      compare *is, bool is_negated)
{
    char name[RULEMATCH_WORD_MAX];
    enum rulematch match = match_set(rulematch_word(at, name) + 1, place, is);

    if (match == RULEMATCH_UNKNOWN || !place->ruleset->has_elements)
        return RULEMATCH_UNKNOWN;
    return (match == RULEMATCH_YES) != is_negated ? RULEMATCH_YES : RULEMATCH_NO;
}

/* "{ established : accept, invalid : drop }": the first entry that holds gives the verdict. */
static enum rulematch match_map(const char **at, const struct ruleset_packet *packet, compare *is,
                                struct rulematch_more *more)
{
    char value[RULEMATCH_WORD_MAX];

    if (!rulematch_take(at, "{"))
        return RULEMATCH_UNKNOWN;
    while (**at != '\n' && **at != '\0' && **at != '}') {
        bool is_it = is(rulematch_word(at, value), packet);

        if (!rulematch_take(at, ":"))
            return RULEMATCH_UNKNOWN;
        if (is_it) {
            more->verdict = *at;
            return RULEMATCH_YES;
        }
        *at += strcspn(*at, ",}\n");
        if (**at == ',')
            *at = rulematch_skip_blanks(*at + 1);
    }
    return RULEMATCH_NO;
}

/* "value", "{ a, b }" or "a,b", with "!=" before it or not; "@set"; "vmap { a : accept }". */
static enum rulematch match_values(const char **at, const struct rulematch_place *place,
                                   compare *is, struct rulematch_more *more)
{
    const struct ruleset_packet *packet = place->packet;
    bool is_negated = rulematch_take(at, "!=");
    bool is_set = rulematch_take(at, "{");
    bool matches = false;
    bool goes_on = true;
    char value[RULEMATCH_WORD_MAX];

    (void)rulematch_take(at, "==");
    if (rulematch_take(at, "vmap"))
        return match_map(at, packet, is, more);
    if (**at == '@')
        return match_reference(at, place, is, is_negated);
    if (**at == '&' || **at == '.')
        return RULEMATCH_UNKNOWN;
    while (goes_on && **at != '\n' && **at != '\0') {
        size_t len = strcspn(*at, " \t\n,");

        goes_on = is_set || (*at)[len] == ',';
        matches |= is(rulematch_word(at, value), packet);
        if (is_set && rulematch_take(at, "}"))
            goes_on = false;
    }
    return matches != is_negated ? RULEMATCH_YES : RULEMATCH_NO;
}

/* "eth0", or "docker*" for all that begin so. */
static bool is_device(const char *value, const struct ruleset_packet *packet)
{
    size_t len = strlen(value);

    if (len > 0 && value[len - 1] == '*')
        return strncmp(packet->device, value, len - 1) == 0;
    return strcmp(value, packet->device) == 0;
}

/* An address, a prefix, or a range of addresses, which has two of them. */
static bool has_address(const char *value, const struct addr *addr)
{
    struct subnets *set = subnets_new();
    struct prefix prefix;
    const char *reason;
    bool has = false;

    if (set && prefix_parse(&prefix, value, &reason) != PREFIX_BAD &&
        subnets_add(set, &prefix) == 0) {
        subnets_seal(set);
        has = subnets_contain(set, addr);
    }
    subnets_free(set);
    return has;
}

/* "192.0.2.0-192.0.2.99" */
static bool is_in_range(const char *value, const struct addr *addr)
{
    const char *dash = strchr(value, '-');
    char text[RULEMATCH_WORD_MAX];
    struct addr first;
    struct addr last;

    if (!dash)
        return has_address(value, addr);
    snprintf(text, sizeof text, "%.*s", (int)(dash - value), value);
    if (addr_parse_host(&first, text) || addr_parse_host(&last, dash + 1) ||
        addr_family(&first) != addr_family(addr) || addr_family(&last) != addr_family(addr))
        return false;
    size_t len = addr_family(addr) == AF_INET6 ? 16 : 4;
    return memcmp(addr_bytes(&first), addr_bytes(addr), len) <= 0 &&
           memcmp(addr_bytes(addr), addr_bytes(&last), len) <= 0;
}

static bool is_source(const char *value, const struct ruleset_packet *packet)
{
    return is_in_range(value, &packet->src);
}

static bool is_destination(const char *value, const struct ruleset_packet *packet)
{
    return is_in_range(value, &packet->dst);
}

static bool has_port(const char *value, unsigned port)
{
    unsigned first;
    unsigned last;
    int n = sscanf(value, "%u-%u", &first, &last);

    return n == 2 ? first <= port && port <= last : n == 1 && first == port;
}

static bool is_source_port(const char *value, const struct ruleset_packet *packet)
{
    return has_port(value, addr_port(&packet->src));
}

static bool is_destination_port(const char *value, const struct ruleset_packet *packet)
{
    return has_port(value, addr_port(&packet->dst));
}

static bool is_protocol(const char *value, const struct ruleset_packet *packet)
{
    return strcmp(value, packet->is_udp ? "udp" : "tcp") == 0 ||
           strcmp(value, packet->is_udp ? "17" : "6") == 0;
}

static bool is_family(const char *value, const struct ruleset_packet *packet)
{
    bool is_v6 = addr_family(&packet->src) == AF_INET6;

    return strcmp(value, is_v6 ? "ipv6" : "ipv4") == 0 || strcmp(value, is_v6 ? "ip6" : "ip") == 0;
}

static bool is_mark(const char *value, const struct ruleset_packet *packet)
{
    return strtoul(value, NULL, 0) == packet->mark;
}

static bool is_state(const char *value, const struct ruleset_packet *packet)
{
    return strcmp(value, packet->is_new ? "new" : "established") == 0;
}

static bool is_type(const char *value, const struct ruleset_packet *packet)
{
    return packet->is_dst_local && strcmp(value, "local") == 0;
}

/* Whom a condition is about; others don't match, whatever the value. */
enum whom { ALL, V4, V6, TCP, UDP };

static const struct {
    const char *words;
    compare *is;
    enum whom whom;
} conditions[] = {
    { "iif", is_device, ALL },
    { "iifname", is_device, ALL },
    { "oif", is_device, ALL },
    { "oifname", is_device, ALL },
    { "ip saddr", is_source, V4 },
    { "ip daddr", is_destination, V4 },
    { "ip6 saddr", is_source, V6 },
    { "ip6 daddr", is_destination, V6 },
    { "tcp sport", is_source_port, TCP },
    { "tcp dport", is_destination_port, TCP },
    { "udp sport", is_source_port, UDP },
    { "udp dport", is_destination_port, UDP },
    { "th sport", is_source_port, ALL },
    { "th dport", is_destination_port, ALL },
    { "meta l4proto", is_protocol, ALL },
    { "ip protocol", is_protocol, V4 },
    { "ip6 nexthdr", is_protocol, V6 },
    { "meta nfproto", is_family, ALL },
    { "meta protocol", is_family, ALL },
    { "ether type", is_family, ALL },
    { "ct state", is_state, ALL },
    { "fib daddr type", is_type, ALL },
};

static bool is_about(enum whom whom, const struct ruleset_packet *packet)
{
    bool is_v6 = addr_family(&packet->src) == AF_INET6;

    return whom == ALL || whom == (is_v6 ? V6 : V4) || whom == (packet->is_udp ? UDP : TCP);
}

static void skip_counter(const char **at)
{
    char ignored[RULEMATCH_WORD_MAX];

    if (rulematch_take(at, "packets")) {
        rulematch_word(at, ignored);
        if (rulematch_take(at, "bytes"))
            rulematch_word(at, ignored);
    }
}

/* A prefix may have blanks between its quotes. */
static void skip_log(const char **at)
{
    static const char *const options[] = { "level", "flags", "group", "snaplen",
                                           "queue-threshold" };
    char ignored[RULEMATCH_WORD_MAX];
    size_t i = 0;

    if (rulematch_take(at, "prefix") && **at == '"') {
        *at += 1 + strcspn(*at + 1, "\"\n");
        *at = rulematch_skip_blanks(*at + (**at == '"'));
    }
    while (i < sizeof options / sizeof *options) {
        bool has = rulematch_take(at, options[i]);

        if (has)
            rulematch_word(at, ignored);
        i = has ? 0 : i + 1;
    }
}

/* "meta mark set 0x5", or a condition. */
static enum rulematch match_mark(const char **at, const struct rulematch_place *place,
                                 struct rulematch_more *more)
{
    if (!rulematch_take(at, "set"))
        return match_values(at, place, is_mark, more);
    /* A mark that conntrack kept is no surprise; the same mark is no change. */
    more->is_mark_set = **at >= '0' && **at <= '9' && strtoul(*at, NULL, 0) != place->packet->mark;
    return more->is_mark_set ? RULEMATCH_YES : RULEMATCH_UNKNOWN;
}

enum rulematch rulematch_condition(const char **at, const struct rulematch_place *place,
                                   struct rulematch_more *more)
{
    if (rulematch_take(at, "counter")) {
        skip_counter(at);
        return RULEMATCH_YES;
    }
    if (rulematch_take(at, "log")) {
        skip_log(at);
        return RULEMATCH_YES;
    }
    if (rulematch_take(at, "meta mark") || rulematch_take(at, "mark"))
        return match_mark(at, place, more);
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
        if (!rulematch_take(at, conditions[i].words))
            continue;
        if (!is_about(conditions[i].whom, place->packet))
            return RULEMATCH_NO;
        return match_values(at, place, conditions[i].is, more);
    }
    return RULEMATCH_UNKNOWN;
}
