/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/base/ports.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char no_port[] = "port is not a number from 1 to 65535";
static const char backwards[] = "the range of ports ends before it begins";

enum { PORT_DIGITS = 5 };

/* Decimal digits, no leading zero. *text is set behind them. */
static bool take_port(const char **text, uint16_t *out)
{
    size_t n = strspn(*text, "0123456789");
    unsigned long value = strtoul(*text, NULL, 10);

    if (n == 0 || n > PORT_DIGITS || **text == '0' || value > UINT16_MAX)
        return false;
    *out = (uint16_t)value;
    *text += n;
    return true;
}

static const char *take_range(const char **text, struct port_range *out)
{
    if (!take_port(text, &out->first))
        return no_port;
    out->last = out->first;
    if (**text != '-')
        return NULL;
    ++*text;
    if (!take_port(text, &out->last))
        return no_port;
    return out->last < out->first ? backwards : NULL;
}

bool port_list_add(struct port_list *list, struct port_range range)
{
    struct port_list out = { .n = 0 };
    unsigned i = 0;

    while (i < list->n && list->items[i].last + 1 < range.first)
        out.items[out.n++] = list->items[i++];
    for (; i < list->n && list->items[i].first <= range.last + 1; i++) {
        range.first = list->items[i].first < range.first ? list->items[i].first : range.first;
        range.last = list->items[i].last > range.last ? list->items[i].last : range.last;
    }
    if (out.n + 1 + (list->n - i) > PORT_LIST_MAX)
        return false;
    out.items[out.n++] = range;
    while (i < list->n)
        out.items[out.n++] = list->items[i++];
    *list = out;
    return true;
}

const char *port_list_parse(struct port_list *out, const char *text)
{
    struct port_range range;
    const char *reason = NULL;

    out->n = 0;
    do {
        text += strspn(text, " ");
        reason = take_range(&text, &range);
        if (!reason && !port_list_add(out, range))
            reason = "there are more than 32 ranges of ports";
        text += strspn(text, " ");
    } while (!reason && *text++ == ',');
    return !reason && text[-1] != '\0' ? no_port : reason;
}

bool port_list_contains(const struct port_list *list, uint16_t port)
{
    for (unsigned i = 0; i < list->n; i++)
        if (port >= list->items[i].first && port <= list->items[i].last)
            return true;
    return false;
}

const char *addr_range_parse(struct addr_range *out, const char *text)
{
    const char *colon = strrchr(text, ':');
    const char *dash = colon ? strchr(colon, '-') : NULL;
    char first[ADDR_STRLEN];
    const char *reason;

    *out = (struct addr_range){ .last = 0 };
    if (!dash || dash - text >= (ptrdiff_t)sizeof first) {
        reason = addr_parse(&out->addr, text);
        out->last = addr_port(&out->addr);
        return reason;
    }
    memcpy(first, text, (size_t)(dash - text));
    first[dash - text] = '\0';
    reason = addr_parse(&out->addr, first);
    dash++;
    if (!reason && (!take_port(&dash, &out->last) || *dash != '\0'))
        reason = no_port;
    else if (!reason && out->last < addr_port(&out->addr))
        reason = backwards;
    if (reason)
        *out = (struct addr_range){ .last = 0 };
    return reason;
}

const char *addr_range_format(const struct addr_range *range, char buf[ADDR_RANGE_STRLEN])
{
    addr_format(&range->addr, buf);
    if (range->last > addr_port(&range->addr)) {
        size_t used = strlen(buf);
        (void)snprintf(buf + used, ADDR_RANGE_STRLEN - used, "-%u", range->last);
    }
    return buf;
}

unsigned addr_range_count(const struct addr_range *range)
{
    return range->last - addr_port(&range->addr) + 1U;
}

struct addr addr_range_at(const struct addr_range *range, unsigned index)
{
    struct addr addr = range->addr;

    addr_set_port(&addr, (uint16_t)(addr_port(&range->addr) + index));
    return addr;
}

bool addr_range_contains(const struct addr_range *range, const struct addr *addr)
{
    struct addr same_port = range->addr;

    if (addr_port(addr) < addr_port(&range->addr) || addr_port(addr) > range->last)
        return false;
    addr_set_port(&same_port, addr_port(addr));
    return addr_equal(&same_port, addr);
}

bool addr_range_equal(const struct addr_range *a, const struct addr_range *b)
{
    return addr_equal(&a->addr, &b->addr) && a->last == b->last;
}
