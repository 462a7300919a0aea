/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A set of subnets: the input is one prefix a line. And two lists, as those of allowed and of
 * direct peers: every other line is of the second one.
 */
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "mmproxy/base/nested.h"
#include "mmproxy/base/subnets.h"

/* The check walks every prefix for every edge of every other one. */
enum { PREFIXES_MAX = 32 };

static size_t n_bytes(const struct addr *addr)
{
    return addr_family(addr) == AF_INET ? 4 : 16;
}

static bool prefix_holds(const struct prefix *prefix, const struct addr *addr)
{
    if (addr_family(&prefix->addr) != addr_family(addr))
        return false;
    for (unsigned bit = 0; bit < prefix->len; bit++) {
        int differing = addr_bytes(&prefix->addr)[bit / 8] ^ addr_bytes(addr)[bit / 8];
        if ((differing >> (7 - bit % 8) & 1) != 0)
            return false;
    }
    return true;
}

static struct addr last_address(const struct prefix *prefix)
{
    uint8_t bytes[16];
    struct addr last;

    memcpy(bytes, addr_bytes(&prefix->addr), n_bytes(&prefix->addr));
    for (unsigned bit = prefix->len; bit < 8 * n_bytes(&prefix->addr); bit++)
        bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
    addr_from_bytes(&last, addr_family(&prefix->addr), bytes, 0);
    return last;
}

/* The address one above (step 1) or one below (step 255), around the end of the family. */
static struct addr neighbour(const struct addr *addr, uint8_t step)
{
    uint8_t bytes[16];
    struct addr next;
    size_t i = n_bytes(addr);
    bool has_carry = true;

    memcpy(bytes, addr_bytes(addr), i);
    while (has_carry && i-- > 0) {
        bytes[i] = (uint8_t)(bytes[i] + step);
        has_carry = bytes[i] == (step == 1 ? 0 : 255);
    }
    addr_from_bytes(&next, addr_family(addr), bytes, 0);
    return next;
}

static void check_address(const struct subnets *set, const struct prefix *list, size_t n,
                          const struct addr *addr)
{
    struct addr unmapped = *addr;
    bool is_inside = false;

    addr_unmap(&unmapped);
    for (size_t i = 0; i < n; i++)
        is_inside = is_inside || prefix_holds(&list[i], &unmapped);
    PROPERTY(subnets_contain(set, addr) == is_inside);
}

/* What was parsed, printed and parsed again is the same, now without a complaint. */
static void check_round_trip(const struct prefix *prefix)
{
    char host[ADDR_STRLEN];
    char text[ADDR_STRLEN + 8];
    struct prefix again;
    const char *reason;

    snprintf(text, sizeof(text), "%s/%u", addr_format_host(&prefix->addr, host), prefix->len);
    PROPERTY(prefix_parse(&again, text, &reason) == PREFIX_OK);
    PROPERTY(addr_equal(&again.addr, &prefix->addr) && again.len == prefix->len);
}

/* An endpoint that was parsed, printed and parsed again is the same. */
static void check_endpoint(const char *line)
{
    struct addr addr;
    struct addr again;
    char text[ADDR_STRLEN];
    const char *reason = addr_parse(&addr, line);

    PROPERTY((reason == NULL) == addr_is_set(&addr));
    PROPERTY(reason == NULL || *reason != '\0');
    if (reason != NULL)
        return;
    PROPERTY(addr_port(&addr) != 0 && addr_len(&addr) > n_bytes(&addr));
    PROPERTY(addr_parse(&again, addr_format(&addr, text)) == NULL);
    PROPERTY(addr_equal(&addr, &again) && addr_equal_host(&addr, &again));
    PROPERTY(addr_is_local_claim(&addr) || !addr_is_loopback(&addr));
}

/* The order of the prefixes, and that some stand there twice, does not count. */
static void check_order(const struct subnets *set, const struct prefix *list, size_t n)
{
    struct subnets *other = subnets_new();

    PROPERTY(other != NULL);
    for (size_t i = 2 * n; i-- > 0;)
        PROPERTY(subnets_add(other, &list[i % n]) == 0);
    subnets_seal(other);
    PROPERTY(subnets_equal(set, other) && subnets_equal(other, set));
    PROPERTY(subnets_count(set) == subnets_count(other));
    subnets_free(other);
}

/* Every other line is of the second list, unless the first one has that prefix. */
static size_t split(const struct prefix *list, size_t n, struct nested *out)
{
    size_t n_out = 0;

    for (size_t i = 0; i < n; i += 2)
        out[n_out++] = (struct nested){ .prefix = list[i] };
    size_t n_first = n_out;
    for (size_t i = 1; i < n; i += 2) {
        const struct nested item = { .prefix = list[i], .is_second = true };
        bool is_double = false;

        for (size_t j = 0; j < n_first; j++)
            is_double = is_double || nested_equal(&out[j], &item);
        if (!is_double)
            out[n_out++] = item;
    }
    return n_out;
}

/* The longest prefix that holds the address decides, and with it its list. */
static void check_decision(const struct subnets *second, const struct nested *items, size_t n,
                           const struct addr *addr)
{
    const struct nested *longest = NULL;
    struct addr unmapped = *addr;

    addr_unmap(&unmapped);
    for (size_t i = 0; i < n; i++)
        if (prefix_holds(&items[i].prefix, &unmapped) &&
            (!longest || items[i].prefix.len > longest->prefix.len))
            longest = &items[i];
    PROPERTY(subnets_contain(second, addr) == (longest && longest->is_second));
}

static void check_two_lists(const struct prefix *list, size_t n)
{
    struct nested items[PREFIXES_MAX];
    size_t n_items = split(list, n, items);
    struct subnets *second;

    nested_sort(items, n_items);
    second = nested_second(items, n_items);
    PROPERTY(second != NULL);
    for (size_t i = 0; i < n_items; i++) {
        const struct addr last = last_address(&items[i].prefix);
        const struct addr before = neighbour(&items[i].prefix.addr, 255);
        const struct addr behind = neighbour(&last, 1);

        check_decision(second, items, n_items, &items[i].prefix.addr);
        check_decision(second, items, n_items, &last);
        check_decision(second, items, n_items, &before);
        check_decision(second, items, n_items, &behind);
    }
    subnets_free(second);
}

static size_t parse_lines(char *text, struct prefix *list)
{
    size_t n = 0;
    char *rest = text;
    const char *line;

    while (n < PREFIXES_MAX && (line = strsep(&rest, "\n")) != NULL) {
        const char *reason = NULL;
        struct addr addr;

        check_endpoint(line);
        if (prefix_parse(&list[n], line, &reason) == PREFIX_BAD) {
            PROPERTY(reason != NULL && *reason != '\0');
            PROPERTY(addr_parse_host(&addr, line) != NULL);
            continue;
        }
        check_round_trip(&list[n++]);
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct prefix list[PREFIXES_MAX];
    struct subnets *set = subnets_new();
    char *text = malloc(len + 1);
    size_t n;

    PROPERTY(set != NULL && text != NULL);
    memcpy(text, bytes, len);
    text[len] = '\0';
    n = parse_lines(text, list);
    free(text);

    for (size_t i = 0; i < n; i++)
        PROPERTY(subnets_add(set, &list[i]) == 0);
    subnets_seal(set);
    PROPERTY(subnets_count(set) <= n && (subnets_count(set) == 0) == (n == 0));
    for (size_t i = 0; i < n; i++) {
        struct addr last = last_address(&list[i]);
        struct addr before = neighbour(&list[i].addr, 255);
        struct addr behind = neighbour(&last, 1);

        check_address(set, list, n, &list[i].addr);
        check_address(set, list, n, &last);
        check_address(set, list, n, &before);
        check_address(set, list, n, &behind);
    }
    check_order(set, list, n);
    check_two_lists(list, n);
    subnets_free(set);
    return 0;
}
