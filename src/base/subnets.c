/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sorted, disjoint ranges from first to last address, one array a family. A range holds what
 * several prefixes say together, so a lookup is one binary search whatever the list looked
 * like.
 */
#include "mmproxy/base/subnets.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct u128 {
    uint64_t high;
    uint64_t low;
};

struct range4 {
    uint32_t first;
    uint32_t last;
};

struct range6 {
    struct u128 first;
    struct u128 last;
};

struct subnets {
    struct range4 *v4;
    size_t n_v4;
    size_t room_v4;
    struct range6 *v6;
    size_t n_v6;
    size_t room_v6;
    bool is_sealed;
};

static uint32_t load32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static uint64_t load64(const uint8_t *bytes)
{
    return (uint64_t)load32(bytes) << 32 | load32(bytes + 4);
}

static struct u128 load128(const uint8_t *bytes)
{
    return (struct u128){ .high = load64(bytes), .low = load64(bytes + 8) };
}

static int compare128(struct u128 a, struct u128 b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    if (a.low != b.low)
        return a.low < b.low ? -1 : 1;
    return 0;
}

/* Ones where a prefix of that length has host bits; shifting by the whole width is undefined. */
static uint64_t host_bits64(unsigned len)
{
    return len >= 64 ? 0 : UINT64_MAX >> len;
}

static bool mask_host_bits(uint8_t *bytes, size_t n_bytes, unsigned len)
{
    uint8_t masked_off = 0;

    for (size_t i = 0; i < n_bytes; i++) {
        unsigned kept = len > 8 * i ? len - 8 * (unsigned)i : 0;
        uint8_t mask = (uint8_t)(kept >= 8 ? 0 : 0xff >> kept);

        masked_off |= bytes[i] & mask;
        bytes[i] &= (uint8_t)~mask;
    }
    return masked_off != 0;
}

/* Decimal digits without a leading zero, 0 to max. */
static bool parse_len(const char *text, unsigned max, unsigned *out)
{
    unsigned value = 0;

    if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (unsigned)(*text - '0');
        if (value > max)
            return false;
    }
    *out = value;
    return true;
}

enum prefix_verdict prefix_parse(struct prefix *out, const char *text, const char **reason)
{
    char host[ADDR_STRLEN];
    const char *slash = strchr(text, '/');
    size_t host_len = slash ? (size_t)(slash - text) : strlen(text);
    uint8_t bytes[16];
    bool is_v4;
    bool had_host_bits;

    *out = (struct prefix){ .len = 0 };
    *reason = "not an IPv4 or IPv6 address";
    if (host_len >= sizeof host)
        return PREFIX_BAD;
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    *reason = addr_parse_host(&out->addr, host);
    if (*reason)
        return PREFIX_BAD;

    is_v4 = addr_family(&out->addr) == AF_INET;
    out->len = is_v4 ? 32 : 128;
    if (slash && !parse_len(slash + 1, out->len, &out->len)) {
        *reason = is_v4 ? "prefix length is not a number from 0 to 32"
                        : "prefix length is not a number from 0 to 128";
        return PREFIX_BAD;
    }
    if (!is_v4 && out->len >= 96) {
        addr_unmap(&out->addr);
        is_v4 = addr_family(&out->addr) == AF_INET;
        out->len -= is_v4 ? 96 : 0;
    }
    memcpy(bytes, addr_bytes(&out->addr), is_v4 ? 4 : 16);
    had_host_bits = mask_host_bits(bytes, is_v4 ? 4 : 16, out->len);
    addr_from_bytes(&out->addr, is_v4 ? AF_INET : AF_INET6, bytes, 0);
    return had_host_bits ? PREFIX_HOST_BITS : PREFIX_OK;
}

struct subnets *subnets_new(void)
{
    return calloc(1, sizeof(struct subnets));
}

void subnets_free(struct subnets *set)
{
    if (!set)
        return;
    free(set->v4);
    free(set->v6);
    free(set);
}

/* Room for one more element; items stays valid, and owned by the caller, on failure. */
static int grow(void **items, size_t n, size_t *room, size_t size)
{
    size_t wanted = *room == 0 ? 64 : *room * 2;
    void *grown;

    if (n < *room)
        return 0;
    grown = reallocarray(*items, wanted, size);
    if (!grown)
        return -ENOMEM;
    *items = grown;
    *room = wanted;
    return 0;
}

static int add4(struct subnets *set, uint32_t first, uint32_t last)
{
    void *items = set->v4;
    int err = grow(&items, set->n_v4, &set->room_v4, sizeof *set->v4);

    set->v4 = items;
    if (err != 0)
        return err;
    set->v4[set->n_v4++] = (struct range4){ .first = first, .last = last };
    return 0;
}

static int add6(struct subnets *set, struct u128 first, struct u128 last)
{
    void *items = set->v6;
    int err = grow(&items, set->n_v6, &set->room_v6, sizeof *set->v6);

    set->v6 = items;
    if (err != 0)
        return err;
    set->v6[set->n_v6++] = (struct range6){ .first = first, .last = last };
    return 0;
}

int subnets_add_range(struct subnets *set, const struct addr *first, const struct addr *last)
{
    assert(!set->is_sealed && addr_family(first) == addr_family(last));
    if (addr_family(first) == AF_INET)
        return add4(set, load32(addr_bytes(first)), load32(addr_bytes(last)));
    assert(addr_family(first) == AF_INET6);
    return add6(set, load128(addr_bytes(first)), load128(addr_bytes(last)));
}

int subnets_add(struct subnets *set, const struct prefix *prefix)
{
    const uint8_t *bytes = addr_bytes(&prefix->addr);

    assert(!set->is_sealed);
    if (addr_family(&prefix->addr) == AF_INET) {
        assert(prefix->len <= 32);
        uint32_t mask = (uint32_t)(host_bits64(prefix->len + 32));
        return add4(set, load32(bytes) & ~mask, load32(bytes) | mask);
    }
    assert(addr_family(&prefix->addr) == AF_INET6 && prefix->len <= 128);
    struct u128 mask = { .high = host_bits64(prefix->len),
                         .low = host_bits64(prefix->len > 64 ? prefix->len - 64 : 0) };
    struct u128 address = load128(bytes);
    return add6(set,
                (struct u128){ .high = address.high & ~mask.high, .low = address.low & ~mask.low },
                (struct u128){ .high = address.high | mask.high, .low = address.low | mask.low });
}

static int by_first4(const void *a, const void *b)
{
    const struct range4 *left = a;
    const struct range4 *right = b;

    return (left->first > right->first) - (left->first < right->first);
}

static int by_first6(const void *a, const void *b)
{
    const struct range6 *left = a;
    const struct range6 *right = b;

    return compare128(left->first, right->first);
}

/* Does a range that starts there overlap or directly follow a range that ends at last? */
static bool joins4(uint32_t last, uint32_t first)
{
    return first <= last || first - 1 == last;
}

static bool joins6(struct u128 last, struct u128 first)
{
    struct u128 before = { .high = first.high - (first.low == 0), .low = first.low - 1 };

    return compare128(first, last) <= 0 || compare128(before, last) == 0;
}

static size_t merge4(struct range4 *ranges, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || !joins4(ranges[kept - 1].last, ranges[i].first))
            ranges[kept++] = ranges[i];
        else if (ranges[kept - 1].last < ranges[i].last)
            ranges[kept - 1].last = ranges[i].last;
    }
    return kept;
}

static size_t merge6(struct range6 *ranges, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || !joins6(ranges[kept - 1].last, ranges[i].first))
            ranges[kept++] = ranges[i];
        else if (compare128(ranges[kept - 1].last, ranges[i].last) < 0)
            ranges[kept - 1].last = ranges[i].last;
    }
    return kept;
}

void subnets_seal(struct subnets *set)
{
    assert(!set->is_sealed);
    if (set->n_v4 > 0)
        qsort(set->v4, set->n_v4, sizeof *set->v4, by_first4);
    if (set->n_v6 > 0)
        qsort(set->v6, set->n_v6, sizeof *set->v6, by_first6);
    set->n_v4 = merge4(set->v4, set->n_v4);
    set->n_v6 = merge6(set->v6, set->n_v6);
    set->is_sealed = true;
}

/* Only the last range that does not start behind the address can hold it. */
static bool contain4(const struct subnets *set, uint32_t address)
{
    size_t low = 0;
    size_t high = set->n_v4;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (set->v4[middle].first <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && address <= set->v4[low - 1].last;
}

static bool contain6(const struct subnets *set, struct u128 address)
{
    size_t low = 0;
    size_t high = set->n_v6;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare128(set->v6[middle].first, address) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && compare128(address, set->v6[low - 1].last) <= 0;
}

bool subnets_contain(const struct subnets *set, const struct addr *addr)
{
    struct addr unmapped = *addr;

    assert(set->is_sealed);
    addr_unmap(&unmapped);
    if (addr_family(&unmapped) == AF_INET)
        return contain4(set, load32(addr_bytes(&unmapped)));
    return addr_family(&unmapped) == AF_INET6 && contain6(set, load128(addr_bytes(&unmapped)));
}

static bool equal_bytes(const void *a, const void *b, size_t n, size_t size)
{
    return n == 0 || memcmp(a, b, n * size) == 0;
}

/* Ranges are sorted, disjoint and without padding: equal sets are equal bytes. */
bool subnets_equal(const struct subnets *a, const struct subnets *b)
{
    assert(a->is_sealed && b->is_sealed);
    return a->n_v4 == b->n_v4 && a->n_v6 == b->n_v6 &&
           equal_bytes(a->v4, b->v4, a->n_v4, sizeof *a->v4) &&
           equal_bytes(a->v6, b->v6, a->n_v6, sizeof *a->v6);
}

size_t subnets_count(const struct subnets *set)
{
    assert(set->is_sealed);
    return set->n_v4 + set->n_v6;
}
