/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/ruleset.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/base/shell.h"
#include "mmproxy/base/subnets.h"

enum { WORD_MAX = 64, NAME_MAX_LEN = 128, JUMPS_MAX = 16 };

enum match { NO, YES, UNKNOWN };

/* How a chain ends for a packet. */
enum end { GOES_ON, ACCEPTED };

struct walk {
    const char *text;
    const struct ruleset_packet *packet;
    unsigned effects;
    unsigned jumps;
    char table[NAME_MAX_LEN]; /* "inet filter" */
    char chain[NAME_MAX_LEN];
    struct ruleset_list *list;
};

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

static const char *next_line(const char *at)
{
    at += strcspn(at, "\n");
    return *at == '\n' ? at + 1 : at;
}

/* Steps over whole words where the line continues with them. */
static bool take(const char **at, const char *words)
{
    size_t len = strlen(words);

    if (strncmp(*at, words, len) != 0 || !strchr(" \t\n;,", (*at)[len]))
        return false;
    *at = skip_blanks(*at + len);
    return true;
}

/* The next word, without quotes and a comma behind it. */
static const char *word(const char **at, char out[WORD_MAX])
{
    size_t len = strcspn(*at, " \t\n,");
    const char *from = *at;
    size_t n = 0;

    for (size_t i = 0; i < len && n < WORD_MAX - 1; i++) {
        if (from[i] != '"' && from[i] != ';')
            out[n++] = from[i];
    }
    out[n] = '\0';
    *at = skip_blanks(from + len + (from[len] == ','));
    return out;
}

typedef bool compare(const char *value, const struct ruleset_packet *packet);

/* "value", "{ a, b }" or "a,b", with "!=" before it or not. */
static enum match match_values(const char **at, const struct ruleset_packet *packet, compare *is)
{
    bool is_negated = take(at, "!=");
    bool is_set = take(at, "{");
    bool matches = false;
    bool goes_on = true;
    char value[WORD_MAX];

    (void)take(at, "==");
    if (**at == '@' || **at == '&' || **at == '.')
        return UNKNOWN;
    while (goes_on && **at != '\n' && **at != '\0') {
        size_t len = strcspn(*at, " \t\n,");

        goes_on = is_set || (*at)[len] == ',';
        matches |= is(word(at, value), packet);
        if (is_set && take(at, "}"))
            goes_on = false;
    }
    return matches != is_negated ? YES : NO;
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

static bool is_source(const char *value, const struct ruleset_packet *packet)
{
    return has_address(value, &packet->src);
}

static bool is_destination(const char *value, const struct ruleset_packet *packet)
{
    return has_address(value, &packet->dst);
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
    char ignored[WORD_MAX];

    if (take(at, "packets")) {
        word(at, ignored);
        if (take(at, "bytes"))
            word(at, ignored);
    }
}

/* "meta mark set 0x5", or a condition. */
static enum match match_mark(const char **at, const struct ruleset_packet *packet, bool *is_set)
{
    if (!take(at, "set"))
        return match_values(at, packet, is_mark);
    /* A mark that conntrack kept is no surprise; the same mark is no change. */
    *is_set = **at >= '0' && **at <= '9' && strtoul(*at, NULL, 0) != packet->mark;
    return *is_set ? YES : UNKNOWN;
}

static enum match match_condition(const char **at, const struct ruleset_packet *packet,
                                  bool *is_mark_set)
{
    if (take(at, "counter")) {
        skip_counter(at);
        return YES;
    }
    if (take(at, "meta mark") || take(at, "mark"))
        return match_mark(at, packet, is_mark_set);
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
        if (!take(at, conditions[i].words))
            continue;
        if (!is_about(conditions[i].whom, packet))
            return NO;
        return match_values(at, packet, conditions[i].is);
    }
    return UNKNOWN;
}

static bool has_command(const struct ruleset_list *list, const char *command)
{
    for (size_t i = 0; i < list->n_items; i++) {
        if (strcmp(list->items[i].command, command) == 0)
            return true;
    }
    return false;
}

static void add(struct ruleset_list *list, const struct ruleset_found *found)
{
    if (list->n_items < RULESET_FOUND_MAX && !has_command(list, found->command))
        list->items[list->n_items++] = *found;
}

/* "dnat to 172.17.0.2:80", "dnat ip to [fd00::2]:80": not set where it is anything else. */
static struct addr destination_of(const char *line)
{
    const char *at = strstr(line, "dnat ");
    const char *end = line + strcspn(line, "\n");
    struct addr to = { 0 };
    char text[WORD_MAX];

    at = at && at < end ? strstr(at, "to ") : NULL;
    if (!at || at >= end)
        return to;
    at += strlen("to ");
    if (addr_parse(&to, word(&at, text)) && addr_parse_host(&to, text))
        to = (struct addr){ 0 };
    return to;
}

static void tell(const struct walk *walk, enum ruleset_effect effect, const char *line)
{
    const char *handle = strstr(line, "# handle ");
    size_t len = strcspn(line, "\n");
    struct ruleset_found found = { .effect = effect };

    if (!(walk->effects & effect))
        return;
    if (handle && handle < line + len) {
        snprintf(found.command, sizeof found.command, "nft delete rule %.100s %.100s handle %lu",
                 walk->table, walk->chain, strtoul(handle + strlen("# handle "), NULL, 10));
        len = (size_t)(handle - line) - (handle > line); /* and the blank before it */
    }
    snprintf(found.rule, sizeof found.rule, "%.64s, chain %.64s: %.*s", walk->table, walk->chain,
             (int)len, line);
    if (effect == RULESET_DNAT)
        found.to = destination_of(line);
    add(walk->list, &found);
}

/* Of what starts on this host the kernel decides in these two hooks, and in no later one. */
static void tell_translation(const struct walk *walk, const char *line)
{
    if (strcmp(walk->packet->hook, "output") == 0)
        tell(walk, RULESET_DNAT, line);
    else if (strcmp(walk->packet->hook, "postrouting") == 0)
        tell(walk, RULESET_SNAT, line);
}

/* On lo everything is let in; of another device what this target sends, or is sent, alone. */
static void tell_policy(const struct walk *walk)
{
    const struct ruleset_packet *packet = walk->packet;
    struct ruleset_found found = { .effect = RULESET_POLICY_DROP };
    bool is_out = strcmp(packet->hook, "output") == 0;
    const struct addr *target = is_out ? &packet->dst : &packet->src;
    char device[SHELL_QUOTED_MAX(IFNAMSIZ)];
    char which[96] = "";
    char host[ADDR_STRLEN];

    if (!(walk->effects & RULESET_POLICY_DROP))
        return;
    if (strcmp(packet->device, "lo") != 0)
        snprintf(which, sizeof which, " %s %s %s %s %s %u",
                 addr_family(target) == AF_INET6 ? "ip6" : "ip", is_out ? "daddr" : "saddr",
                 addr_format_host(target, host), packet->is_udp ? "udp" : "tcp",
                 is_out ? "dport" : "sport", addr_port(target));
    snprintf(found.rule, sizeof found.rule, "%.64s, chain %.64s: policy drop", walk->table,
             walk->chain);
    snprintf(found.command, sizeof found.command, "nft insert rule %.64s %.64s %s %s%s accept",
             walk->table, walk->chain, is_out ? "oif" : "iif",
             shell_quote(packet->device, device, sizeof device), which);
    add(walk->list, &found);
}

static enum end walk_chain(struct walk *walk, const char *at);
static const char *find_chain(const struct walk *walk, const char *name);

static enum end jump(struct walk *walk, const char *at)
{
    struct walk inner = *walk;
    const char *chain;
    char name[WORD_MAX];

    snprintf(inner.chain, sizeof inner.chain, "%s", word(&at, name));
    chain = ++inner.jumps < JUMPS_MAX ? find_chain(walk, inner.chain) : NULL;
    return chain ? walk_chain(&inner, chain) : GOES_ON;
}

/* Another address in place of one of the packet's. */
static bool is_translation(const char *at)
{
    return take(&at, "dnat") || take(&at, "redirect") || take(&at, "snat") ||
           take(&at, "masquerade");
}

/* The statement at the end of a rule that matches. */
static enum end apply(struct walk *walk, const char *at, const char *line, bool *returns)
{
    if (strncmp(at, "drop", 4) == 0 || strncmp(at, "reject", 6) == 0) {
        /* Looking for other effects, the packet ends here; else the rule is taken for gone. */
        if (!(walk->effects & RULESET_REFUSES))
            return ACCEPTED;
        tell(walk, *at == 'd' ? RULESET_DROP : RULESET_REJECT, line);
        return GOES_ON;
    }
    if (take(&at, "accept"))
        return ACCEPTED;
    if (take(&at, "jump"))
        return jump(walk, at);
    *returns = take(&at, "goto");
    if (*returns)
        return jump(walk, at);
    if (take(&at, "return"))
        *returns = true;
    if (take(&at, "notrack"))
        tell(walk, RULESET_NOTRACK, line);
    if (is_translation(at)) {
        tell_translation(walk, line);
        return ACCEPTED;
    }
    return GOES_ON;
}

static bool is_statement(const char *at)
{
    static const char *const words[] = { "drop", "reject", "accept", "jump",
                                         "goto", "return", "notrack" };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const char *copy = at;

        if (take(&copy, words[i]))
            return true;
    }
    return is_translation(at) || *at == '\n' || *at == '\0' || *at == '#';
}

static enum end walk_rule(struct walk *walk, const char *line, bool *returns)
{
    const char *at = line;
    bool is_mark_set = false;

    while (!is_statement(at)) {
        if (match_condition(&at, walk->packet, &is_mark_set) != YES)
            return GOES_ON;
        if (is_mark_set) {
            tell(walk, RULESET_SET_MARK, line);
            return GOES_ON;
        }
    }
    return apply(walk, at, line, returns);
}

/* at: the first line within the chain. */
static enum end walk_chain(struct walk *walk, const char *at)
{
    bool returns = false;
    enum end end = GOES_ON;

    for (; *at != '\0' && end == GOES_ON && !returns; at = next_line(at)) {
        const char *line = skip_blanks(at);

        if (*line == '}')
            break;
        end = walk_rule(walk, line, &returns);
    }
    return end;
}

/* The table's families have the packet's? Sets walk->table from "table inet filter { ...". */
static bool enter_table(struct walk *walk, const char *line)
{
    bool is_v6 = addr_family(&walk->packet->src) == AF_INET6;
    char family[WORD_MAX];
    char name[WORD_MAX];

    word(&line, family);
    word(&line, name);
    snprintf(walk->table, sizeof walk->table, "%s %s", family, name);
    return strcmp(family, "inet") == 0 || strcmp(family, is_v6 ? "ip6" : "ip") == 0;
}

/* The lines of a chain of the walk's table; NULL: there is none. */
static const char *find_chain(const struct walk *walk, const char *name)
{
    char wanted[WORD_MAX];
    char table[NAME_MAX_LEN] = "";

    for (const char *at = walk->text; *at != '\0'; at = next_line(at)) {
        const char *line = skip_blanks(at);

        if (take(&line, "table")) {
            char family[WORD_MAX];

            word(&line, family);
            snprintf(table, sizeof table, "%s %s", family, word(&line, wanted));
        } else if (take(&line, "chain") && strcmp(table, walk->table) == 0 &&
                   strcmp(word(&line, wanted), name) == 0) {
            return next_line(at);
        }
    }
    return NULL;
}

/* "type filter hook input priority filter; policy drop;" */
static void walk_base(struct walk *walk, const char *line)
{
    const char *hook = strstr(line, " hook ");
    const char *end = line + strcspn(line, "\n");
    const char *policy = strstr(line, "policy drop");
    size_t len = strlen(walk->packet->hook);

    if (!hook || hook > end || strncmp(hook + 6, walk->packet->hook, len) != 0 ||
        hook[6 + len] != ' ')
        return;
    if (walk_chain(walk, next_line(line)) == GOES_ON && policy && policy < end)
        tell_policy(walk);
}

void ruleset_find(const char *text, const struct ruleset_packet *packet, unsigned effects,
                  struct ruleset_list *list)
{
    struct walk walk = { .text = text, .packet = packet, .effects = effects, .list = list };
    bool is_in_table = false;

    for (const char *at = text; *at != '\0'; at = next_line(at)) {
        const char *line = skip_blanks(at);
        char name[WORD_MAX];

        if (take(&line, "table"))
            is_in_table = enter_table(&walk, line);
        else if (take(&line, "flags dormant"))
            is_in_table = false;
        else if (is_in_table && take(&line, "chain"))
            snprintf(walk.chain, sizeof walk.chain, "%s", word(&line, name));
        else if (is_in_table && strncmp(line, "type ", 5) == 0)
            walk_base(&walk, line);
    }
}
