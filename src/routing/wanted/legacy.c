/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/legacy.h"

#include <stdlib.h>
#include <string.h>

#include "mmproxy/routing/wanted/ruleset.h"

enum {
    WORD_MAX = 256,
    SPEC_MAX = RULESET_TEXT_MAX - 48, /* with program, table and -D in front */
};

/* Of one table of the old iptables. */
struct table {
    FILE *out;
    bool is_v6;
    bool is_open;
    char name[32];
};

/* How an option of a rule is written by nft; "" behind it: it says nothing of its own. */
struct option {
    const char *option;
    const char *v4;
    const char *v6; /* NULL: the same */
};

static const struct option addresses[] = {
    { "-s", "ip saddr", "ip6 saddr" },
    { "-d", "ip daddr", "ip6 daddr" },
};

static const struct option devices[] = {
    { "-i", "iifname", NULL },
    { "-o", "oifname", NULL },
};

static const struct option ports[] = {
    { "--sport", "th sport", NULL },
    { "--dport", "th dport", NULL },
    { "--sports", "th sport", NULL },
    { "--dports", "th dport", NULL },
};

static const struct {
    const char *target;
    const char *statement;
} targets[] = {
    { "DROP", "drop" },
    { "REJECT", "reject" },
    { "ACCEPT", "accept" },
    { "RETURN", "return" },
    { "NOTRACK", "notrack" },
    { "REDIRECT", "redirect" },
    { "MASQUERADE", "masquerade" },
    { "SNAT", "snat" },
    { "LOG", "" },
    { "NFLOG", "" },
    { "DNAT", "dnat" },
};

static const char *const hooks[][2] = {
    { "PREROUTING", "prerouting" },   { "INPUT", "input" },
    { "FORWARD", "forward" },         { "OUTPUT", "output" },
    { "POSTROUTING", "postrouting" },
};

static char printable(char c)
{
    return (unsigned char)c < ' ' || c == '\x7f' ? '?' : c;
}

/* The next word at *at of the line, without the quotes of a comment. returns: false at its end. */
static bool next_word(const char **at, char out[WORD_MAX])
{
    size_t n = 0;
    bool is_quoted;

    *at += strspn(*at, " ");
    is_quoted = **at == '"';
    *at += is_quoted;
    if (**at == '\n' || **at == '\0')
        return false;
    while (**at != '\0' && **at != '\n' && **at != (is_quoted ? '"' : ' ')) {
        if (is_quoted && **at == '\\' && (*at)[1] != '\0' && (*at)[1] != '\n')
            (*at)++;
        if (n < WORD_MAX - 1)
            out[n++] = printable(**at);
        (*at)++;
    }
    *at += is_quoted && **at == '"';
    out[n] = '\0';
    return true;
}

static const struct option *find(const struct option *options, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(options[i].option, word) == 0)
            return &options[i];
    }
    return NULL;
}

#define FIND(options, word) find(options, sizeof(options) / sizeof *(options), word)

static void print_condition(const struct table *table, const struct option *option, bool is_negated,
                            const char *value)
{
    fprintf(table->out, "%s %s%s ", table->is_v6 && option->v6 ? option->v6 : option->v4,
            is_negated ? "!= " : "", value);
}

/* "eth+" is all devices that begin so. */
static void print_device(const struct table *table, const struct option *option, bool is_negated,
                         char value[WORD_MAX])
{
    size_t len = strlen(value);

    if (len > 0 && value[len - 1] == '+')
        value[len - 1] = '*';
    print_condition(table, option, is_negated, value);
}

/* "22,80:90" becomes "22,80-90"; states are in small letters. */
static void print_list(const struct table *table, const struct option *option, bool is_negated,
                       char value[WORD_MAX])
{
    for (char *at = value; *at != '\0'; at++) {
        if (*at == ':')
            *at = '-';
        else if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    }
    print_condition(table, option, is_negated, value);
}

/* "0x7b/0xffffffff"; one that looks at some bits is not understood. */
static void print_mark(const struct table *table, const char *words, const char *value)
{
    char *end;
    unsigned long mark = strtoul(value, &end, 0);

    if (*end == '/' && strtoul(end + 1, NULL, 0) != 0xffffffff)
        fputs("unknown ", table->out);
    else
        fprintf(table->out, "%s %lu ", words, mark);
}

/* An option that has one value. returns: is it one? */
static bool print_match(const struct table *table, const char *word, bool is_negated,
                        char value[WORD_MAX])
{
    static const struct option state = { "", "ct state", NULL };
    static const struct option protocol = { "", "meta l4proto", NULL };
    static const struct option type = { "", "fib daddr type", NULL };
    const struct option *option;

    if ((option = FIND(addresses, word)))
        print_condition(table, option, is_negated, value);
    else if ((option = FIND(devices, word)))
        print_device(table, option, is_negated, value);
    else if ((option = FIND(ports, word)))
        print_list(table, option, is_negated, value);
    else if (strcmp(word, "-p") == 0)
        print_condition(table, &protocol, is_negated, value);
    else if (strcmp(word, "--ctstate") == 0 || strcmp(word, "--state") == 0)
        print_list(table, &state, is_negated, value);
    else if (strcmp(word, "--dst-type") == 0)
        print_list(table, &type, is_negated, value);
    else if (strcmp(word, "--mark") == 0 && !is_negated)
        print_mark(table, "meta mark", value);
    else if (strcmp(word, "-m") != 0 && strcmp(word, "--comment") != 0)
        return false;
    return true;
}

/* What the rule does, with the rest of the line as its options. */
static void print_target(const struct table *table, const char *target, const char *rest)
{
    char word[WORD_MAX];
    char value[WORD_MAX] = "";

    while (next_word(&rest, word) && strcmp(word, "--to-destination") != 0 &&
           strcmp(word, "--set-xmark") != 0 && strcmp(word, "--set-mark") != 0 &&
           strcmp(word, "--notrack") != 0)
        ;
    (void)next_word(&rest, value);
    if (strcmp(target, "MARK") == 0) {
        print_mark(table, "meta mark set", value);
        return;
    }
    if (strcmp(target, "CT") == 0) {
        fputs(strcmp(word, "--notrack") == 0 ? "notrack " : "unknown ", table->out);
        return;
    }
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        if (strcmp(targets[i].target, target) != 0)
            continue;
        fprintf(table->out, "%s ", targets[i].statement);
        if (strcmp(target, "DNAT") == 0)
            fprintf(table->out, "to %s ", value);
        return;
    }
    /* A chain's name is as one chose; an extension that is not known is none of the chains'. */
    fprintf(table->out, "jump %s ", target);
}

/* Means this character something to a shell, at this place? */
static bool is_special(char c, bool is_quoted)
{
    return strchr(is_quoted ? "$`" : "$`\\;&|<>()'\"", c) != NULL;
}

/*
 * A rule as a shell reads it: words stand in double quotes where iptables-save found that they need
 * some, names of chains never do. returns: false where it has no room.
 */
static bool write_spec(const char *spec, char out[SPEC_MAX])
{
    bool is_quoted = false;
    size_t n = 0;

    for (const char *at = spec; *at != '\0' && *at != '\n'; at++) {
        bool begins = *at == '"' && !is_quoted && at > spec && at[-1] == ' ';
        bool is_pair = is_quoted && *at == '\\' && at[1] != '\0' && at[1] != '\n';

        if (n + 3 > SPEC_MAX)
            return false;
        if (begins || (*at == '"' && is_quoted))
            is_quoted = begins;
        else if (is_pair)
            out[n++] = *at++; /* and what it takes its meaning from */
        else if (is_special(*at, is_quoted))
            out[n++] = '\\';
        out[n++] = printable(*at);
    }
    out[n] = '\0';
    return !is_quoted;
}

static void print_comment(const struct table *table, const char *spec)
{
    char text[SPEC_MAX];

    if (write_spec(spec, text))
        fprintf(table->out, RULESET_LEGACY "%stables-legacy -t %s -A %s", table->is_v6 ? "6" : "",
                table->name, text);
}

/* spec: what follows "-A ". */
static void print_rule(const struct table *table, const char *spec)
{
    const char *at = spec;
    bool is_negated = false;
    char word[WORD_MAX];
    char value[WORD_MAX];

    (void)next_word(&at, word); /* the chain */
    fputs("\t\t", table->out);
    while (next_word(&at, word)) {
        if (strcmp(word, "!") == 0) {
            is_negated = true;
            continue;
        }
        bool has_value = next_word(&at, value);
        if (has_value && strcmp(word, "-g") == 0) {
            fprintf(table->out, "goto %s ", value);
            break;
        }
        if (has_value && strcmp(word, "-j") == 0) {
            print_target(table, value, at);
            break;
        }
        if (!has_value || !print_match(table, word, is_negated, value)) {
            fputs("unknown ", table->out);
            break;
        }
        is_negated = false;
    }
    print_comment(table, spec);
    fputc('\n', table->out);
}

static bool is_in_chain(const char *line, const char *chain)
{
    size_t len = strlen(chain);

    return strncmp(line, "-A ", 3) == 0 && strncmp(line + 3, chain, len) == 0 &&
           line[3 + len] == ' ';
}

static const char *next_line(const char *at)
{
    at += strcspn(at, "\n");
    return *at == '\n' ? at + 1 : at;
}

/* line: ":INPUT DROP [0:0]"; its rules come behind it, before COMMIT. */
static void print_chain(const struct table *table, const char *line)
{
    const char *at = line + 1;
    char chain[WORD_MAX];
    char policy[WORD_MAX] = "";

    if (!next_word(&at, chain))
        return;
    (void)next_word(&at, policy);
    fprintf(table->out, "\tchain %s {\n", chain);
    for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++) {
        if (strcmp(hooks[i][0], chain) == 0)
            fprintf(table->out, "\t\ttype filter hook %s priority 0; policy %s;\n", hooks[i][1],
                    strcmp(policy, "DROP") == 0 ? "drop" : "accept");
    }
    for (at = next_line(at); *at != '\0' && strncmp(at, "COMMIT", 6) != 0; at = next_line(at)) {
        if (is_in_chain(at, chain))
            print_rule(table, at + 3);
    }
    fputs("\t}\n", table->out);
}

/* line: "*filter". Its name differs from those of nft's tables. */
static void open_table(struct table *table, const char *line)
{
    snprintf(table->name, sizeof table->name, "%.*s",
             (int)strspn(line + 1, "abcdefghijklmnopqrstuvwxyz"), line + 1);
    fprintf(table->out, "table %s legacy:%s { " RULESET_LEGACY "%stables-legacy -t %s\n",
            table->is_v6 ? "ip6" : "ip", table->name, table->is_v6 ? "6" : "", table->name);
    table->is_open = true;
}

void legacy_translate(FILE *out, const char *saved, bool is_v6)
{
    struct table table = { .out = out, .is_v6 = is_v6 };

    for (const char *at = saved; *at != '\0'; at = next_line(at)) {
        if (*at == '*' && !table.is_open) {
            open_table(&table, at);
        } else if (*at == ':' && table.is_open) {
            print_chain(&table, at);
        } else if (strncmp(at, "COMMIT", 6) == 0 && table.is_open) {
            fputs("}\n", out);
            table.is_open = false;
        }
    }
}
