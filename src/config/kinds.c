/* SPDX-License-Identifier: BSD-2-Clause */
#include "kinds.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MS_PER_S = 1000 };

#define REASON(...) (snprintf(reason, KEYS_REASON_MAX, __VA_ARGS__), false)

/* Long enough for any address or name; what is longer is no help to anybody. */
#define QUOTED "\"%.120s\""

const char *kinds_describe(const struct value *value, char out[KEYS_REASON_MAX])
{
    static const char *const types[] = {
        [VALUE_WHOLE] = "a number",    [VALUE_FRACTION] = "a fraction",
        [VALUE_BOOLEAN] = "a boolean", [VALUE_STRING] = "a string",
        [VALUE_GROUP] = "a group { }", [VALUE_ARRAY] = "an array [ ]",
        [VALUE_LIST] = "a list ( )",
    };

    if (value->text != NULL)
        snprintf(out, KEYS_REASON_MAX, QUOTED, value->text);
    else
        snprintf(out, KEYS_REASON_MAX, "%s", types[value->type]);
    return out;
}

/* The number itself, as it was written. */
static const char *describe_number(const struct value *value, char out[KEYS_REASON_MAX])
{
    if (value->text != NULL)
        snprintf(out, KEYS_REASON_MAX, "%.120s", value->text);
    else if (value->type == VALUE_FRACTION)
        snprintf(out, KEYS_REASON_MAX, "%g", value->fraction);
    else if (value->is_hex)
        snprintf(out, KEYS_REASON_MAX, "0x%llx", (unsigned long long)value->whole);
    else
        snprintf(out, KEYS_REASON_MAX, "%lld", (long long)value->whole);
    return out;
}

KIND(number)
{
    char found[KEYS_REASON_MAX];
    uint32_t number;

    if (value->type == VALUE_FRACTION)
        return REASON("must be a whole number, not %.100s", describe_number(value, found));
    if (value->type != VALUE_WHOLE)
        return REASON("must be a whole number, not %.200s", kinds_describe(value, found));
    if (value->whole < key->min || value->whole > key->max)
        return REASON("must be from %lld to %lld, not %.200s", (long long)key->min,
                      (long long)key->max, describe_number(value, found));
    number = (uint32_t)value->whole;
    memcpy(field, &number, sizeof(number));
    return true;
}

/* spec: include/uapi/linux/rtnetlink.h, enum rt_class_t */
KIND(table)
{
    static const char *const names[] = { "default", "main", "local" };
    uint32_t table;

    if (!kinds_number(key, value, &table, reason))
        return false;
    if (table >= 253 && table <= 255)
        return REASON("must not be %u: that is the kernel's own table \"%s\"", table,
                      names[table - 253]);
    memcpy(field, &table, sizeof(table));
    return true;
}

KIND(seconds)
{
    char range[KEYS_RANGE_MAX];
    char found[KEYS_REASON_MAX];
    double ms;
    unsigned rounded;

    if (value->type != VALUE_WHOLE && value->type != VALUE_FRACTION)
        return REASON("must be a number of seconds, not %.200s", kinds_describe(value, found));
    ms = MS_PER_S * (value->type == VALUE_WHOLE ? (double)value->whole : value->fraction);
    /* Written so that a value that is not a number fails. */
    if (!((ms >= 1 && ms <= (double)key->max) || (ms >= 0 && ms <= 0 && key->min == 0))) {
        keys_format_range(key, range);
        return REASON("must be %s seconds, not %.200s", range, describe_number(value, found));
    }
    rounded = (unsigned)(ms + 0.5);
    memcpy(field, &rounded, sizeof(rounded));
    return true;
}

KIND(boolean)
{
    char found[KEYS_REASON_MAX];

    (void)key;
    if (value->type != VALUE_BOOLEAN)
        return REASON("must be true or false, not %.200s", kinds_describe(value, found));
    memcpy(field, &value->boolean, sizeof(value->boolean));
    return true;
}

static bool find_word(const struct key *key, const struct value *value, unsigned *out,
                      char reason[KEYS_REASON_MAX])
{
    char range[KEYS_RANGE_MAX];
    char found[KEYS_REASON_MAX];

    keys_format_range(key, range);
    if (value->type != VALUE_STRING)
        return REASON("must be %s, not %.200s", range, kinds_describe(value, found));
    for (unsigned i = 0; key->words[i] != NULL; i++) {
        if (strcmp(key->words[i], value->string) == 0) {
            *out = i;
            return true;
        }
    }
    return REASON("must be %s, not " QUOTED, range, value->string);
}

KIND(word)
{
    unsigned index;

    if (!find_word(key, value, &index, reason))
        return false;
    memcpy(field, &index, sizeof(index));
    return true;
}

KIND(client_port)
{
    bool preserve;
    unsigned index;

    if (!find_word(key, value, &index, reason))
        return false;
    preserve = index == 0;
    memcpy(field, &preserve, sizeof(preserve));
    return true;
}

static bool need_string(const struct value *value, const char *wanted, char reason[KEYS_REASON_MAX])
{
    char found[KEYS_REASON_MAX];

    if (value->type == VALUE_STRING)
        return true;
    return REASON("must be %s, not %.200s", wanted, kinds_describe(value, found));
}

KIND(path)
{
    (void)key;
    if (!need_string(value, "the path of a file", reason))
        return false;
    if (value->string[0] == '\0')
        return REASON("must be the path of a file, not empty");
    memcpy(field, &value->string, sizeof(value->string));
    return true;
}

KIND(name)
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

KIND(user)
{
    char **user = field;

    (void)key;
    if (!need_string(value, "the name of a user", reason))
        return false;
    if (getpwnam(value->string) == NULL)
        return REASON("is " QUOTED ", but there is no such user", value->string);
    *user = strdup(value->string);
    return *user != NULL || REASON("does not fit: out of memory");
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

static bool parse_target(const struct value *value, sa_family_t family, struct addr *out,
                         char reason[KEYS_REASON_MAX])
{
    const char *wanted = family == AF_INET ? "IPv4" : "IPv6";
    char text[ADDR_STRLEN];
    struct addr addr;
    const char *error;

    if (!need_string(value,
                     family == AF_INET ? "a string \"ADDR:PORT\"" : "a string \"[ADDR]:PORT\"",
                     reason))
        return false;
    error = addr_parse(&addr, value->string);
    if (error != NULL)
        return REASON("is " QUOTED ": %s", value->string, error);
    if (is_v4_mapped(&addr)) {
        addr_unmap(&addr);
        return REASON("is the v4-mapped address " QUOTED ": write \"%s\" as the IPv4 target",
                      value->string, addr_format(&addr, text));
    }
    if (addr_family(&addr) != family)
        return REASON("must be an %s address, not " QUOTED, wanted, value->string);
    error = useless_target(&addr);
    if (error != NULL)
        return REASON("is " QUOTED ", %s: no service can be reached there", value->string, error);
    memcpy(out, &addr, sizeof(addr));
    return true;
}

KIND(target_v4)
{
    (void)key;
    return parse_target(value, AF_INET, field, reason);
}

KIND(target_v6)
{
    (void)key;
    return parse_target(value, AF_INET6, field, reason);
}

bool kinds_listen(const struct value *value, struct addr *out, char reason[KEYS_REASON_MAX])
{
    char text[ADDR_STRLEN];
    const char *error;

    if (!need_string(value, "a string \"ADDR:PORT\" or an array of them", reason))
        return false;
    error = addr_parse(out, value->string);
    if (error != NULL)
        return REASON("is " QUOTED ": %s", value->string, error);
    if (is_v4_mapped(out)) {
        addr_unmap(out);
        return REASON("is the v4-mapped address " QUOTED ": write \"%s\"", value->string,
                      addr_format(out, text));
    }
    if (addr_family(out) == AF_INET ? IN_MULTICAST(ntohl(out->in.sin_addr.s_addr))
                                    : IN6_IS_ADDR_MULTICAST(&out->in6.sin6_addr))
        return REASON("is " QUOTED ", a multicast address", value->string);
    return true;
}
