/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/ruleset.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/base/shell.h"
#include "mmproxy/routing/wanted/rulematch.h"

enum {
    JUMPS_MAX = 16,
    STEPS_MAX =
        100000, /* rules, more than any packet meets; jumps of one chain to the next multiply */
    JUMP_STEPS = 100, /* a jump looks through the text */
    PRIORITY_MANGLE = -150,
};

/* How a chain ends for a packet. */
enum end { GOES_ON, ACCEPTED };

struct walk {
    const struct ruleset *ruleset;
    const struct ruleset_packet *packet;
    unsigned effects;
    unsigned jumps;
    unsigned *steps;
    char table[RULEMATCH_NAME_MAX]; /* "inet filter" */
    char chain[RULEMATCH_NAME_MAX];
    char legacy[RULEMATCH_NAME_MAX]; /* "iptables-legacy -t filter"; "": a table of nftables */
    bool is_early;                   /* the hook is before that in which replies are marked */
    struct ruleset_list *list;
};

static bool is_translated(const struct walk *walk, const char *line)
{
    return walk->ruleset->legacy && line >= walk->ruleset->legacy;
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
    char text[RULEMATCH_WORD_MAX];

    at = at && at < end ? strstr(at, "to ") : NULL;
    if (!at || at >= end)
        return to;
    at += strlen("to ");
    if (addr_parse(&to, rulematch_word(&at, text)) && addr_parse_host(&to, text))
        to = (struct addr){ 0 };
    return to;
}

/*
 * "nft delete rule inet x c handle 3". In the network namespace of a container names are as
 * somebody there chose them.
 */
static void write_command(const struct walk *walk, const char *verb, const char *rest,
                          struct ruleset_found *found)
{
    char table[SHELL_QUOTED_MAX(RULEMATCH_NAME_MAX)];
    char chain[SHELL_QUOTED_MAX(RULEMATCH_NAME_MAX)];
    size_t family = strcspn(walk->table, " ");
    const char *name = walk->table + family + (walk->table[family] == ' ');
    int len;

    shell_quote(walk->chain, chain, sizeof chain);
    if (walk->legacy[0] != '\0')
        len = snprintf(found->command, sizeof found->command, "%s %s %s %s", walk->legacy, verb,
                       chain, rest);
    else
        len =
            snprintf(found->command, sizeof found->command, "nft %s rule %.*s %s %s %s", verb,
                     (int)family, walk->table, shell_quote(name, table, sizeof table), chain, rest);
    if ((size_t)len >= sizeof found->command)
        found->command[0] = '\0';
}

/* What stands in a report, between commands that are pasted. */
static void write_rule(struct ruleset_found *found, const char *rule)
{
    shell_harmless(rule, found->rule, sizeof found->rule);
}

/* "# iptables-legacy -t filter -A INPUT ..." behind the translation: the rule; with -D it goes. */
static void describe_legacy(const char *line, size_t len, struct ruleset_found *found)
{
    const char *comment = strstr(line, RULESET_LEGACY);
    const char *add = comment ? strstr(comment, " -A ") : NULL;

    if (!add || add > line + len)
        return;
    comment += strlen(RULESET_LEGACY) - strlen("ip");
    snprintf(found->rule, sizeof found->rule, "%.*s", (int)(line + len - comment), comment);
    snprintf(found->command, sizeof found->command, "%.*s -D %.*s", (int)(add - comment), comment,
             (int)(line + len - add) - 4, add + 4);
}

static void describe(const struct walk *walk, const char *line, size_t len,
                     struct ruleset_found *found)
{
    const char *handle = strstr(line, "# handle ");
    char rule[RULESET_TEXT_MAX];
    char rest[32];

    if (handle && handle < line + len) {
        snprintf(rest, sizeof rest, "handle %lu", strtoul(handle + strlen("# handle "), NULL, 10));
        write_command(walk, "delete", rest, found);
        len = (size_t)(handle - line) - (handle > line); /* and the blank before it */
    }
    snprintf(rule, sizeof rule, "%.64s, chain %.64s: %.*s", walk->table, walk->chain, (int)len,
             line);
    write_rule(found, rule);
}

/* Is the rule about what leaves by any device but one? */
static bool is_for_all_but_one(const char *line)
{
    const char *end = line + strcspn(line, "\n");
    const char *at = strstr(line, "oifname != ");

    at = at ? at : strstr(line, "oif != ");
    return at && at < end;
}

/*
 * A rule that keeps packets from leaving this host, such as the kill switch of a VPN, stays: what
 * only seems to leave is let pass in front of it. line: NULL for a policy.
 */
static void describe_exception(const struct walk *walk, const char *line,
                               struct ruleset_found *found)
{
    const struct ruleset_packet *packet = walk->packet;
    bool is_legacy = walk->legacy[0] != '\0';
    char passes[64] = "";

    found->is_by_mark = packet->is_rerouted && !walk->is_early;
    if (found->is_by_mark)
        snprintf(passes, sizeof passes,
                 is_legacy ? "-m mark --mark %u -j ACCEPT" : "meta mark %u accept", packet->mark);
    else if (line && strcmp(packet->hook, "output") == 0 && strcmp(packet->device, "lo") == 0 &&
             is_for_all_but_one(line))
        snprintf(passes, sizeof passes, is_legacy ? "-o lo -j ACCEPT" : "oif lo accept");
    if (passes[0] == '\0')
        return;
    write_command(walk, is_legacy ? "-I" : "insert", passes, found);
}

static void tell(const struct walk *walk, enum ruleset_effect effect, const char *line)
{
    struct ruleset_found found = { .effect = effect };

    /* A table of nftables may have the name of a translated one. */
    if (!(walk->effects & effect) || is_translated(walk, line) != (walk->legacy[0] != '\0'))
        return;
    if (walk->legacy[0] != '\0')
        describe_legacy(line, strcspn(line, "\n"), &found);
    else
        describe(walk, line, strcspn(line, "\n"), &found);
    if (effect == RULESET_DNAT)
        found.to = destination_of(line);
    if (effect & RULESET_REFUSES)
        describe_exception(walk, line, &found);
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

static bool is_out(const char *hook)
{
    return strcmp(hook, "output") == 0 || strcmp(hook, "egress") == 0;
}

static void describe_legacy_policy(const struct walk *walk, struct ruleset_found *found)
{
    const struct ruleset_packet *packet = walk->packet;
    bool out = is_out(packet->hook);
    const struct addr *target = out ? &packet->dst : &packet->src;
    char device[SHELL_QUOTED_MAX(IFNAMSIZ)];
    char rule[RULESET_TEXT_MAX];
    char rest[256];
    char which[128] = "";
    char host[ADDR_STRLEN];

    if (strcmp(packet->device, "lo") != 0)
        snprintf(which, sizeof which, " %s %s -p %s --%s %u", out ? "-d" : "-s",
                 addr_format_host(target, host), packet->is_udp ? "udp" : "tcp",
                 out ? "dport" : "sport", addr_port(target));
    snprintf(rule, sizeof rule, "%.64s -P %.64s DROP", walk->legacy, walk->chain);
    write_rule(found, rule);
    snprintf(rest, sizeof rest, "%s %s%s -j ACCEPT", out ? "-o" : "-i",
             shell_quote(packet->device, device, sizeof device), which);
    write_command(walk, "-I", rest, found);
}

/* On lo everything is let in; of another device what this target sends, or is sent, alone. */
static void describe_policy(const struct walk *walk, struct ruleset_found *found)
{
    const struct ruleset_packet *packet = walk->packet;
    bool out = is_out(packet->hook);
    const struct addr *target = out ? &packet->dst : &packet->src;
    char device[SHELL_QUOTED_MAX(IFNAMSIZ)];
    char rule[RULESET_TEXT_MAX];
    char rest[256];
    char which[96] = "";
    char host[ADDR_STRLEN];

    if (strcmp(packet->device, "lo") != 0)
        snprintf(which, sizeof which, " %s %s %s %s %s %u",
                 addr_family(target) == AF_INET6 ? "ip6" : "ip", out ? "daddr" : "saddr",
                 addr_format_host(target, host), packet->is_udp ? "udp" : "tcp",
                 out ? "dport" : "sport", addr_port(target));
    snprintf(rule, sizeof rule, "%.64s, chain %.64s: policy drop", walk->table, walk->chain);
    write_rule(found, rule);
    snprintf(rest, sizeof rest, "%s %s%s accept", out ? "oif" : "iif",
             shell_quote(packet->device, device, sizeof device), which);
    write_command(walk, "insert", rest, found);
}

static void tell_policy(const struct walk *walk)
{
    struct ruleset_found found = { .effect = RULESET_POLICY_DROP };

    if (!(walk->effects & RULESET_POLICY_DROP))
        return;
    if (walk->legacy[0] != '\0')
        describe_legacy_policy(walk, &found);
    else
        describe_policy(walk, &found);
    describe_exception(walk, NULL, &found);
    add(walk->list, &found);
}

static enum end walk_chain(struct walk *walk, const char *at);

static enum end jump(struct walk *walk, const char *at)
{
    struct walk inner = *walk;
    const char *chain;
    char name[RULEMATCH_WORD_MAX];

    snprintf(inner.chain, sizeof inner.chain, "%s", rulematch_word(&at, name));
    if (++inner.jumps >= JUMPS_MAX)
        return GOES_ON;
    chain = rulematch_find(walk->ruleset->text, walk->table, "chain", inner.chain);
    *walk->steps += JUMP_STEPS;
    return chain ? walk_chain(&inner, chain) : GOES_ON;
}

/* Another address in place of one of the packet's. */
static bool is_translation(const char *at)
{
    return rulematch_take(&at, "dnat") || rulematch_take(&at, "redirect") ||
           rulematch_take(&at, "snat") || rulematch_take(&at, "masquerade");
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
    if (rulematch_take(&at, "accept"))
        return ACCEPTED;
    if (rulematch_take(&at, "jump"))
        return jump(walk, at);
    *returns = rulematch_take(&at, "goto");
    if (*returns)
        return jump(walk, at);
    if (rulematch_take(&at, "return"))
        *returns = true;
    if (rulematch_take(&at, "notrack"))
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

        if (rulematch_take(&copy, words[i]))
            return true;
    }
    return is_translation(at) || *at == '\n' || *at == '\0' || *at == '#';
}

/* To drop is no fault that one command mends where the same rule lets others in. */
static enum end apply_verdict(struct walk *walk, const char *verdict, const char *line,
                              bool *returns)
{
    if (strncmp(verdict, "drop", 4) == 0)
        return GOES_ON;
    return apply(walk, verdict, line, returns);
}

static enum end walk_rule(struct walk *walk, const char *line, bool *returns)
{
    const struct rulematch_place place = { walk->ruleset, walk->table, walk->packet };
    struct rulematch_more more = { .is_mark_set = false };
    const char *at = line;

    while (!is_statement(at)) {
        if (rulematch_condition(&at, &place, &more) != RULEMATCH_YES)
            return GOES_ON;
        if (more.verdict)
            return apply_verdict(walk, more.verdict, line, returns);
        if (more.is_mark_set) {
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

    for (; *at != '\0' && end == GOES_ON && !returns; at = rulematch_next_line(at)) {
        const char *line = rulematch_skip_blanks(at);

        if (*line == '}')
            break;
        end = ++*walk->steps < STEPS_MAX ? walk_rule(walk, line, &returns) : ACCEPTED;
    }
    return end;
}

/* The table's families have the packet's? Sets walk->table from "table inet filter { ...". */
static bool enter_table(struct walk *walk, const char *line)
{
    const char *legacy = strstr(line, RULESET_LEGACY);
    bool is_v6 = addr_family(&walk->packet->src) == AF_INET6;
    char family[RULEMATCH_WORD_MAX];
    char name[RULEMATCH_WORD_MAX];
    size_t len = strcspn(line, "\n");

    walk->legacy[0] = '\0';
    if (is_translated(walk, line) && legacy && legacy < line + len) {
        legacy += strlen(RULESET_LEGACY) - strlen("ip");
        snprintf(walk->legacy, sizeof walk->legacy, "%.*s", (int)(line + len - legacy), legacy);
    }
    rulematch_word(&line, family);
    rulematch_word(&line, name);
    snprintf(walk->table, sizeof walk->table, "%s %s", family, name);
    return strcmp(family, "inet") == 0 || strcmp(family, "netdev") == 0 ||
           strcmp(family, is_v6 ? "ip6" : "ip") == 0;
}

/* "ingress device "lo" priority ...": such a chain is for the devices that it names alone. */
static bool is_for_device(const char *hook, const char *device)
{
    const char *end = strstr(hook, " priority ");
    char quoted[IFNAMSIZ + 2];
    const char *at;

    if (strncmp(hook, "ingress", 7) != 0 && strncmp(hook, "egress", 6) != 0)
        return true;
    snprintf(quoted, sizeof quoted, "\"%.15s\"", device);
    at = strstr(hook, quoted);
    return at && end && at < end;
}

/* "hook output priority raw; policy accept;": those of connmark have the priority "mangle". */
static bool is_early(const struct walk *walk, const char *hook)
{
    const char *at = strstr(hook, " priority ");

    at = at ? at + strlen(" priority ") : "";
    return strncmp(at, "raw", 3) == 0 || strtol(at, NULL, 10) < PRIORITY_MANGLE ||
           strstr(walk->legacy, " -t raw");
}

/* "type filter hook input priority filter; policy drop;" */
static void walk_base(struct walk *walk, const char *line)
{
    const char *hook = strstr(line, " hook ");
    const char *end = line + strcspn(line, "\n");
    const char *policy = strstr(line, "policy drop");
    size_t len = strlen(walk->packet->hook);

    if (!hook || hook > end || strncmp(hook + 6, walk->packet->hook, len) != 0 ||
        hook[6 + len] != ' ' || !is_for_device(hook + 6, walk->packet->device))
        return;
    walk->is_early = is_early(walk, hook);
    if (walk_chain(walk, rulematch_next_line(line)) == GOES_ON && policy && policy < end)
        tell_policy(walk);
}

void ruleset_find(const struct ruleset *ruleset, const struct ruleset_packet *packet,
                  unsigned effects, struct ruleset_list *list)
{
    unsigned steps = 0;
    struct walk walk = {
        .ruleset = ruleset, .packet = packet, .effects = effects, .list = list, .steps = &steps
    };
    bool is_in_table = false;

    for (const char *at = ruleset->text; *at != '\0'; at = rulematch_next_line(at)) {
        const char *line = rulematch_skip_blanks(at);
        char name[RULEMATCH_WORD_MAX];

        if (rulematch_take(&line, "table"))
            is_in_table = enter_table(&walk, line);
        else if (rulematch_take(&line, "flags dormant"))
            is_in_table = false;
        else if (is_in_table && rulematch_take(&line, "chain"))
            snprintf(walk.chain, sizeof walk.chain, "%s", rulematch_word(&line, name));
        else if (is_in_table && strncmp(line, "type ", 5) == 0)
            walk_base(&walk, line);
    }
}
