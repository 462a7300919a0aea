/* SPDX-License-Identifier: BSD-2-Clause */
#include "kinds.h"

#include <assert.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint_ids.h"
#include "mmproxy/config/config.h"

enum { MS_PER_S = 1000 };

#define PARSE(name)                                                                         \
    static bool parse_##name(const struct key *key, const struct value *value, void *field, \
                             char reason[KINDS_REASON_MAX])

#define REASON(...) (snprintf(reason, KINDS_REASON_MAX, __VA_ARGS__), false)

/* Long enough for any address or name. */
#define QUOTED "\"%.120s\""

static const void *field_of(const struct key *key, const void *structure)
{
    return (const char *)structure + key->offset;
}

PARSE(number)
{
    char found[VALUE_TEXT_MAX];
    uint32_t number;

    if (value->type == VALUE_FRACTION)
        return REASON("must be a whole number, not %.100s", value_describe_number(value, found));
    if (value->type != VALUE_WHOLE)
        return REASON("must be a whole number, not %.200s", value_describe(value, found));
    if (value->whole < key->min || value->whole > key->max)
        return REASON("must be from %lld to %lld, not %.200s", (long long)key->min,
                      (long long)key->max, value_describe_number(value, found));
    number = (uint32_t)value->whole;
    memcpy(field, &number, sizeof number);
    return true;
}

/* spec: include/uapi/linux/rtnetlink.h, enum rt_class_t */
PARSE(table)
{
    static const char *const names[] = { "default", "main", "local" };
    uint32_t table;

    if (!parse_number(key, value, &table, reason))
        return false;
    if (table >= 253 && table <= 255)
        return REASON("must not be %u: that is the kernel's own table \"%s\"", table,
                      names[table - 253]);
    memcpy(field, &table, sizeof table);
    return true;
}

PARSE(seconds)
{
    char range[KINDS_RANGE_MAX];
    char found[VALUE_TEXT_MAX];
    double ms;
    unsigned rounded;

    if (value->type != VALUE_WHOLE && value->type != VALUE_FRACTION)
        return REASON("must be a number of seconds, not %.200s", value_describe(value, found));
    ms = MS_PER_S * (value->type == VALUE_WHOLE ? (double)value->whole : value->fraction);
    /* Written so that a value that is not a number fails. */
    if (!((ms >= 1 && ms <= (double)key->max) || (ms >= 0 && ms <= 0 && key->min == 0))) {
        kinds_format_range(key, range);
        return REASON("must be %s seconds, not %.200s", range, value_describe_number(value, found));
    }
    rounded = (unsigned)(ms + 0.5);
    memcpy(field, &rounded, sizeof rounded);
    return true;
}

PARSE(boolean)
{
    char found[VALUE_TEXT_MAX];

    (void)key;
    if (value->type != VALUE_BOOLEAN)
        return REASON("must be true or false, not %.200s", value_describe(value, found));
    memcpy(field, &value->boolean, sizeof value->boolean);
    return true;
}

static bool find_word(const struct key *key, const struct value *value, unsigned *out,
                      char reason[KINDS_REASON_MAX])
{
    char range[KINDS_RANGE_MAX];
    char found[VALUE_TEXT_MAX];

    kinds_format_range(key, range);
    if (value->type != VALUE_STRING)
        return REASON("must be %s, not %.200s", range, value_describe(value, found));
    for (unsigned i = 0; key->words[i]; i++) {
        if (strcmp(key->words[i], value->string) == 0) {
            *out = i;
            return true;
        }
    }
    return REASON("must be %s, not " QUOTED, range, value->string);
}

PARSE(word)
{
    unsigned index;

    if (!find_word(key, value, &index, reason))
        return false;
    memcpy(field, &index, sizeof index);
    return true;
}

PARSE(client_port)
{
    bool preserve;
    unsigned index;

    if (!find_word(key, value, &index, reason))
        return false;
    preserve = index == 0;
    memcpy(field, &preserve, sizeof preserve);
    return true;
}

static bool need_string(const struct value *value, const char *wanted,
                        char reason[KINDS_REASON_MAX])
{
    char found[VALUE_TEXT_MAX];

    if (value->type == VALUE_STRING)
        return true;
    return REASON("must be %s, not %.200s", wanted, value_describe(value, found));
}

PARSE(path)
{
    char **path = field;

    (void)key;
    if (!need_string(value, "a path", reason))
        return false;
    if (value->string[0] == '\0')
        return REASON("must be a path, not empty");
    *path = strdup(value->string);
    return *path || REASON("does not fit: out of memory");
}

PARSE(name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789_.-";
    size_t len;

    (void)key;
    if (!need_string(value, "a string", reason))
        return false;
    len = strlen(value->string);
    if (len == 0 || len > LISTENER_NAME_MAX || strspn(value->string, allowed) != len)
        return REASON("must be 1 to %d characters of A-Z a-z 0-9 _ . -, not " QUOTED,
                      LISTENER_NAME_MAX, value->string);
    memcpy(field, value->string, len + 1);
    return true;
}

/* spec: ip-netns(8): a name is a file in /run/netns */
PARSE(netns)
{
    const char *text = value->string;

    (void)key;
    if (!need_string(value, "a name in /run/netns or a path", reason))
        return false;
    if (strlen(text) > LISTENER_NETNS_MAX)
        return REASON("is longer than %d characters", LISTENER_NETNS_MAX);
    if (text[0] != '/' &&
        (text[0] == '\0' || strchr(text, '/') || strcmp(text, ".") == 0 || strcmp(text, "..") == 0))
        return REASON("must be a name in /run/netns or an absolute path, not " QUOTED, text);
    memcpy(field, text, strlen(text) + 1);
    return true;
}

PARSE(user)
{
    char **user = field;

    (void)key;
    if (!need_string(value, "the name of a user", reason))
        return false;
    if (!getpwnam(value->string))
        return REASON("is " QUOTED ", but there is no such user", value->string);
    *user = strdup(value->string);
    return *user || REASON("does not fit: out of memory");
}

/* "" = none. It must fit a socket's address, which has room for 107 characters. */
PARSE(socket)
{
    char **path = field;

    (void)key;
    if (!need_string(value, "a path, or \"\" for none", reason))
        return false;
    if (value->string[0] != '\0' && value->string[0] != '/')
        return REASON("is " QUOTED ": it must be an absolute path", value->string);
    if (strlen(value->string) > 107)
        return REASON("is longer than 107 characters, which no socket's path may be");
    free(*path);
    *path = strdup(value->string);
    return *path || REASON("does not fit: out of memory");
}

PARSE(group_name)
{
    char **group = field;

    (void)key;
    if (!need_string(value, "the name of a group", reason))
        return false;
    if (!getgrnam(value->string))
        return REASON("is " QUOTED ", but there is no such group", value->string);
    *group = strdup(value->string);
    return *group || REASON("does not fit: out of memory");
}

static bool is_v4_mapped(const struct addr *addr)
{
    return addr_family(addr) == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&addr->in6.sin6_addr);
}

static const char *useless_target(const struct addr *addr)
{
    if (addr_is_loopback(addr) || !addr_is_local_claim(addr))
        return NULL;
    if (addr_family(addr) == AF_INET6)
        return IN6_IS_ADDR_MULTICAST(&addr->in6.sin6_addr) ? "a multicast address"
                                                           : "the unspecified address";
    if (addr_bytes(addr)[0] == 0)
        return "an unspecified address";
    return addr_bytes(addr)[0] == 255 ? "the broadcast address" : "a multicast address";
}

static const char *parse_range_target(struct target_config *out, const char *text)
{
    struct addr_range range;
    const char *error = addr_range_parse(&range, text);

    *out = (struct target_config){ .addr = range.addr, .last = range.last };
    if (!error && range.last != addr_port(&range.addr))
        out->port = TARGET_PORT_RANGE;
    return error;
}

const char *kinds_target(struct target_config *out, const char *text)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) + 1 : 0;
    bool is_same = colon && strcmp(colon + 1, "same") == 0;
    char with_port[ADDR_STRLEN];

    if (!is_same && (!colon || strcmp(colon + 1, "header") != 0))
        return parse_range_target(out, text);
    /* The port is found when the rest of the listener is known. */
    (void)snprintf(with_port, sizeof with_port, "%.*s1", (int)(len < 70 ? len : 0), text);
    *out = (struct target_config){ .port = is_same ? TARGET_PORT_SAME : TARGET_PORT_HEADER };
    return addr_parse(&out->addr, with_port);
}

static bool parse_target(const struct value *value, sa_family_t family, struct target_config *out,
                         char reason[KINDS_REASON_MAX])
{
    const char *wanted = family == AF_INET ? "IPv4" : "IPv6";
    char text[ADDR_STRLEN];
    struct target_config target;
    const char *error;

    if (!need_string(value,
                     family == AF_INET ? "a string \"ADDR:PORT\"" : "a string \"[ADDR]:PORT\"",
                     reason))
        return false;
    error = kinds_target(&target, value->string);
    if (error)
        return REASON("is " QUOTED ": %s", value->string, error);
    if (is_v4_mapped(&target.addr)) {
        addr_unmap(&target.addr);
        return REASON("is the v4-mapped address " QUOTED ": write \"%s\" as the IPv4 target",
                      value->string, addr_format(&target.addr, text));
    }
    if (addr_family(&target.addr) != family)
        return REASON("must be an %s address, not " QUOTED, wanted, value->string);
    error = useless_target(&target.addr);
    if (error)
        return REASON("is " QUOTED ", %s: no service can be reached there", value->string, error);
    memcpy(out, &target, sizeof target);
    return true;
}

PARSE(target_v4)
{
    (void)key;
    return parse_target(value, AF_INET, field, reason);
}

PARSE(target_v6)
{
    (void)key;
    return parse_target(value, AF_INET6, field, reason);
}

bool kinds_listen(const struct value *value, struct addr_range *out, char reason[KINDS_REASON_MAX])
{
    char text[ADDR_RANGE_STRLEN];
    const struct addr *addr = &out->addr;
    const char *error;

    if (!need_string(value, "a string \"ADDR:PORT\" or an array of them", reason))
        return false;
    error = addr_range_parse(out, value->string);
    if (error)
        return REASON("is " QUOTED ": %s", value->string, error);
    if (is_v4_mapped(addr)) {
        addr_unmap(&out->addr);
        return REASON("is the v4-mapped address " QUOTED ": write \"%s\"", value->string,
                      addr_range_format(out, text));
    }
    if (addr_family(addr) == AF_INET ? IN_MULTICAST(ntohl(addr->in.sin_addr.s_addr))
                                     : IN6_IS_ADDR_MULTICAST(&addr->in6.sin6_addr))
        return REASON("is " QUOTED ", a multicast address", value->string);
    return true;
}

PARSE(address)
{
    struct addr_range range;

    (void)key;
    if (!need_string(value, "a string \"ADDR:PORT\"", reason) ||
        !kinds_listen(value, &range, reason))
        return false;
    if (addr_range_count(&range) > 1)
        return REASON("is " QUOTED ": one port only", value->string);
    memcpy(field, &range, sizeof range);
    return true;
}

static bool parse_prefix(const struct value *value, sa_family_t family, struct prefix *out,
                         char reason[KINDS_REASON_MAX])
{
    const char *error;

    if (!need_string(value,
                     family == AF_INET ? "a string such as \"240.0.0.0/4\""
                                       : "a string such as \"64:ff9b::/96\"",
                     reason))
        return false;
    switch (prefix_parse(out, value->string, &error)) {
    case PREFIX_OK:
        break;
    case PREFIX_HOST_BITS:
        return REASON("is " QUOTED ": bits behind the prefix are set", value->string);
    case PREFIX_BAD:
        return REASON("is " QUOTED ": %s", value->string, error);
    }
    if (addr_family(&out->addr) != family)
        return REASON("must be an %s prefix, not " QUOTED, family == AF_INET ? "IPv4" : "IPv6",
                      value->string);
    return true;
}

PARSE(prefix_v4)
{
    struct prefix prefix;

    (void)key;
    if (!parse_prefix(value, AF_INET, &prefix, reason))
        return false;
    memcpy(field, &prefix, sizeof prefix);
    return true;
}

PARSE(prefix_v6)
{
    struct prefix prefix;

    (void)key;
    if (!parse_prefix(value, AF_INET6, &prefix, reason))
        return false;
    if (prefix.len != CLIENT_MAP_V4_LEN)
        return REASON("must be a prefix of 96 bits, not " QUOTED, value->string);
    if (addr_bytes(&prefix.addr)[8] != 0)
        return REASON("is " QUOTED ": its bits 64 to 71 must be 0 (RFC 6052)", value->string);
    memcpy(field, &prefix, sizeof prefix);
    return true;
}

PARSE(map_key)
{
    (void)key;
    if (!need_string(value, "a path", reason))
        return false;
    if (value->string[0] != '/')
        return REASON("is " QUOTED ": it must be an absolute path", value->string);
    if (strlen(value->string) >= CONFIG_MAP_KEY_MAX)
        return REASON("is longer than %d characters", CONFIG_MAP_KEY_MAX - 1);
    memcpy(field, value->string, strlen(value->string) + 1);
    return true;
}

PARSE(ports)
{
    struct port_list list;
    const char *error;

    (void)key;
    if (!need_string(value, "a string such as \"8000-8099,9000\"", reason))
        return false;
    error = port_list_parse(&list, value->string);
    if (error)
        return REASON("is " QUOTED ": %s", value->string, error);
    memcpy(field, &list, sizeof list);
    return true;
}

static bool equal_unsigned(const struct key *key, const void *a, const void *b)
{
    return memcmp(field_of(key, a), field_of(key, b), sizeof(unsigned)) == 0;
}

static bool equal_boolean(const struct key *key, const void *a, const void *b)
{
    return *(const bool *)field_of(key, a) == *(const bool *)field_of(key, b);
}

static bool equal_array_of_char(const struct key *key, const void *a, const void *b)
{
    return strcmp(field_of(key, a), field_of(key, b)) == 0;
}

static bool equal_string(const struct key *key, const void *a, const void *b)
{
    const char *left = *(const char *const *)field_of(key, a);
    const char *right = *(const char *const *)field_of(key, b);

    return left && right ? strcmp(left, right) == 0 : left == right;
}

static bool equal_address(const struct key *key, const void *a, const void *b)
{
    return addr_range_equal(field_of(key, a), field_of(key, b));
}

static bool equal_target(const struct key *key, const void *a, const void *b)
{
    const struct target_config *left = field_of(key, a);
    const struct target_config *right = field_of(key, b);

    return addr_equal(&left->addr, &right->addr) && left->port == right->port &&
           left->last == right->last;
}

static bool equal_prefix(const struct key *key, const void *a, const void *b)
{
    const struct prefix *left = field_of(key, a);
    const struct prefix *right = field_of(key, b);

    return addr_equal(&left->addr, &right->addr) && left->len == right->len;
}

static bool equal_ports(const struct key *key, const void *a, const void *b)
{
    const struct port_list *left = field_of(key, a);
    const struct port_list *right = field_of(key, b);

    return left->n == right->n &&
           memcmp(left->items, right->items, left->n * sizeof *left->items) == 0;
}

static bool equal_listen(const struct key *key, const void *a, const void *b)
{
    const struct listener_config *left = a;
    const struct listener_config *right = b;

    (void)key;
    if (left->n_listen != right->n_listen)
        return false;
    for (size_t i = 0; i < left->n_listen; i++)
        if (!addr_range_equal(&left->listen[i], &right->listen[i]))
            return false;
    return true;
}

static bool equal_endpoints(const struct key *key, const void *a, const void *b)
{
    return endpoint_ids_equal(*(struct endpoints *const *)field_of(key, a),
                              *(struct endpoints *const *)field_of(key, b));
}

static void format_numbers(const struct key *key, char out[KINDS_RANGE_MAX])
{
    snprintf(out, KINDS_RANGE_MAX, "from %lld to %lld", (long long)key->min, (long long)key->max);
}

static void format_seconds(const struct key *key, char out[KINDS_RANGE_MAX])
{
    snprintf(out, KINDS_RANGE_MAX, "%sfrom 0.001 to %lld", key->min == 0 ? "0 or " : "",
             (long long)key->max / MS_PER_S);
}

static void format_words(const struct key *key, char out[KINDS_RANGE_MAX])
{
    size_t used = 0;

    for (size_t i = 0; key->words[i]; i++) {
        const char *comma = i == 0 ? "" : !key->words[i + 1] ? " or " : ", ";
        int n = snprintf(out + used, KINDS_RANGE_MAX - used, "%s\"%s\"", comma, key->words[i]);
        used += (size_t)n;
        assert(used < KINDS_RANGE_MAX);
    }
}

void kinds_format_range(const struct key *key, char out[KINDS_RANGE_MAX])
{
    out[0] = '\0';
    if (key->kind->format_range)
        key->kind->format_range(key, out);
}

const struct kind kind_number = { "whole number", parse_number, equal_unsigned, format_numbers };
const struct kind kind_table = { "whole number", parse_table, equal_unsigned, format_numbers };
const struct kind kind_seconds = { "seconds", parse_seconds, equal_unsigned, format_seconds };
const struct kind kind_boolean = { "boolean", parse_boolean, equal_boolean, NULL };
const struct kind kind_word = { "string", parse_word, equal_unsigned, format_words };
const struct kind kind_client_port = { "string", parse_client_port, equal_boolean, format_words };
const struct kind kind_path = { "string", parse_path, equal_string, NULL };
const struct kind kind_socket = { "string", parse_socket, equal_string, NULL };
const struct kind kind_group_name = { "string", parse_group_name, equal_string, NULL };
const struct kind kind_name = { "string", parse_name, equal_array_of_char, NULL };
const struct kind kind_netns = { "string", parse_netns, equal_array_of_char, NULL };
const struct kind kind_user = { "string", parse_user, equal_string, NULL };
const struct kind kind_address = { "string", parse_address, equal_address, NULL };
const struct kind kind_ports = { "string", parse_ports, equal_ports, NULL };
const struct kind kind_target_v4 = { "string", parse_target_v4, equal_target, NULL };
const struct kind kind_target_v6 = { "string", parse_target_v6, equal_target, NULL };
const struct kind kind_listen = { "string or array", NULL, equal_listen, NULL };
const struct kind kind_allowed = { "string or array", NULL, NULL, NULL };
const struct kind kind_prefix_v4 = { "string", parse_prefix_v4, equal_prefix, NULL };
const struct kind kind_prefix_v6 = { "string", parse_prefix_v6, equal_prefix, NULL };
const struct kind kind_map_key = { "string", parse_map_key, equal_array_of_char, NULL };
const struct kind kind_endpoints = { "array", NULL, equal_endpoints, NULL };
const struct kind kind_group = { "group", NULL, NULL, NULL };
const struct kind kind_list = { "list", NULL, NULL, NULL };
