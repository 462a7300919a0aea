/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/base/addr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

static const char *const not_an_address = "not an IPv4 or IPv6 address";

socklen_t addr_len(const struct addr *addr)
{
    switch (addr->sa.sa_family) {
    case AF_INET:
        return sizeof addr->in;
    case AF_INET6:
        return sizeof addr->in6;
    default:
        return 0;
    }
}

uint16_t addr_port(const struct addr *addr)
{
    switch (addr->sa.sa_family) {
    case AF_INET:
        return ntohs(addr->in.sin_port);
    case AF_INET6:
        return ntohs(addr->in6.sin6_port);
    default:
        return 0;
    }
}

void addr_set_port(struct addr *addr, uint16_t port)
{
    if (addr->sa.sa_family == AF_INET)
        addr->in.sin_port = htons(port);
    else if (addr->sa.sa_family == AF_INET6)
        addr->in6.sin6_port = htons(port);
}

const uint8_t *addr_bytes(const struct addr *addr)
{
    assert(addr_is_set(addr));
    if (addr->sa.sa_family == AF_INET)
        return (const uint8_t *)&addr->in.sin_addr;
    return addr->in6.sin6_addr.s6_addr;
}

void addr_from_bytes(struct addr *out, sa_family_t family, const uint8_t *bytes, uint16_t port)
{
    assert(family == AF_INET || family == AF_INET6);
    *out = (struct addr){ .in6 = { .sin6_family = AF_UNSPEC } };
    out->sa.sa_family = family;
    if (family == AF_INET)
        memcpy(&out->in.sin_addr, bytes, sizeof out->in.sin_addr);
    else
        memcpy(&out->in6.sin6_addr, bytes, sizeof out->in6.sin6_addr);
    addr_set_port(out, port);
}

/* Decimal digits only, no leading zero (it could be meant as octal), 1 to max. */
static bool parse_number(const char *text, unsigned max, unsigned *out)
{
    unsigned value = 0;

    if (*text < '1' || *text > '9')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        unsigned digit = (unsigned)(*text - '0');
        if (value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

/* inet_pton takes nothing but the strict forms: no "1.2.3", no octal, no white space. */
static bool parse_numeric(struct addr *out, const char *text)
{
    *out = (struct addr){ .in6 = { .sin6_family = AF_UNSPEC } };
    if (inet_pton(AF_INET, text, &out->in.sin_addr) == 1) {
        out->sa.sa_family = AF_INET;
        return true;
    }
    if (inet_pton(AF_INET6, text, &out->in6.sin6_addr) == 1) {
        out->sa.sa_family = AF_INET6;
        return true;
    }
    *out = (struct addr){ .in6 = { .sin6_family = AF_UNSPEC } };
    return false;
}

/* An interface by its name, or by its index as addr_format writes it; 0 = there is none. */
static unsigned parse_scope(const char *text)
{
    char name[IF_NAMESIZE];
    unsigned index = if_nametoindex(text);

    if (index == 0 && parse_number(text, INT32_MAX, &index) && !if_indextoname(index, name))
        index = 0;
    return index;
}

/* "ADDR6" or "ADDR6%IFACE", cut in two in place. */
static const char *parse_scoped(struct addr *out, char *text)
{
    char *percent = strchr(text, '%');

    if (percent)
        *percent = '\0';
    if (!parse_numeric(out, text))
        return "not an IPv6 address between the brackets";
    if (out->sa.sa_family != AF_INET6)
        return "only an IPv6 address goes between brackets";
    if (!percent)
        return NULL;
    if (!IN6_IS_ADDR_LINKLOCAL(&out->in6.sin6_addr))
        return "only a link-local address has an interface";
    out->in6.sin6_scope_id = parse_scope(percent + 1);
    return out->in6.sin6_scope_id == 0 ? "there is no such interface" : NULL;
}

const char *addr_parse(struct addr *out, const char *text)
{
    char host[ADDR_STRLEN];
    bool is_bracketed = text[0] == '[';
    const char *start = is_bracketed ? text + 1 : text;
    const char *end = strchr(start, is_bracketed ? ']' : ':');
    const char *reason = NULL;
    unsigned port = 0;

    *out = (struct addr){ .in6 = { .sin6_family = AF_UNSPEC } };
    if (!end)
        return is_bracketed ? "closing bracket is missing" : "port is missing";
    if (!is_bracketed && strchr(end + 1, ':'))
        return "an IPv6 address with a port needs brackets: [ADDR]:PORT";
    if ((size_t)(end - start) >= sizeof host)
        return not_an_address;
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';

    if (is_bracketed)
        reason = parse_scoped(out, host);
    else if (!parse_numeric(out, host))
        reason = "not an IPv4 address before the port";
    end += is_bracketed ? 1 : 0;
    if (!reason && *end != ':')
        reason = "port is missing";
    else if (!reason && !parse_number(end + 1, UINT16_MAX, &port))
        reason = "port is not a number from 1 to 65535";
    if (reason) {
        *out = (struct addr){ .in6 = { .sin6_family = AF_UNSPEC } };
        return reason;
    }
    addr_set_port(out, (uint16_t)port);
    return NULL;
}

const char *addr_parse_host(struct addr *out, const char *text)
{
    return parse_numeric(out, text) ? NULL : not_an_address;
}

const char *addr_format_host(const struct addr *addr, char buf[ADDR_STRLEN])
{
    if (!addr_is_set(addr)) {
        memcpy(buf, "-", sizeof "-");
        return buf;
    }
    inet_ntop(addr->sa.sa_family, addr_bytes(addr), buf, INET6_ADDRSTRLEN);
    /* The index, not the name: asking for the name is a system call that the jail forbids. */
    if (addr->sa.sa_family == AF_INET6 && addr->in6.sin6_scope_id != 0) {
        size_t used = strlen(buf);
        snprintf(buf + used, ADDR_STRLEN - used, "%%%u", addr->in6.sin6_scope_id);
    }
    return buf;
}

const char *addr_format(const struct addr *addr, char buf[ADDR_STRLEN])
{
    bool is_bracketed = addr->sa.sa_family == AF_INET6;
    size_t used;

    if (!addr_is_set(addr))
        return addr_format_host(addr, buf);
    addr_format_host(addr, buf);
    used = strlen(buf);
    if (is_bracketed) {
        memmove(buf + 1, buf, used);
        buf[0] = '[';
        used++;
    }
    snprintf(buf + used, ADDR_STRLEN - used, "%s:%u", is_bracketed ? "]" : "", addr_port(addr));
    return buf;
}

void addr_unmap(struct addr *addr)
{
    uint8_t v4[4];

    if (addr->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&addr->in6.sin6_addr))
        return;
    memcpy(v4, addr->in6.sin6_addr.s6_addr + 12, sizeof v4);
    addr_from_bytes(addr, AF_INET, v4, addr_port(addr));
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    if (!addr_equal_host(a, b) || addr_port(a) != addr_port(b))
        return false;
    return a->sa.sa_family != AF_INET6 || a->in6.sin6_scope_id == b->in6.sin6_scope_id;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
    int result = (int)a->sa.sa_family - (int)b->sa.sa_family;

    if (result != 0 || !addr_is_set(a))
        return result;
    result = memcmp(addr_bytes(a), addr_bytes(b), a->sa.sa_family == AF_INET ? 4 : 16);
    if (result == 0 && a->sa.sa_family == AF_INET6)
        result = (a->in6.sin6_scope_id > b->in6.sin6_scope_id) -
                 (a->in6.sin6_scope_id < b->in6.sin6_scope_id);
    return result != 0 ? result : (int)addr_port(a) - (int)addr_port(b);
}

bool addr_equal_host(const struct addr *a, const struct addr *b)
{
    if (a->sa.sa_family != b->sa.sa_family)
        return false;
    if (!addr_is_set(a))
        return true;
    return memcmp(addr_bytes(a), addr_bytes(b), a->sa.sa_family == AF_INET ? 4 : 16) == 0;
}

bool addr_is_loopback(const struct addr *addr)
{
    if (addr->sa.sa_family == AF_INET)
        return addr_bytes(addr)[0] == 127;
    return addr->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&addr->in6.sin6_addr);
}

bool addr_is_local_claim(const struct addr *addr)
{
    static const uint8_t broadcast[4] = { 255, 255, 255, 255 };

    if (addr_is_loopback(addr))
        return true;
    if (addr->sa.sa_family == AF_INET) {
        const uint8_t *bytes = addr_bytes(addr);
        return bytes[0] == 0 || (bytes[0] & 0xf0) == 0xe0 ||
               memcmp(bytes, broadcast, sizeof broadcast) == 0;
    }
    return addr->sa.sa_family == AF_INET6 && (IN6_IS_ADDR_UNSPECIFIED(&addr->in6.sin6_addr) ||
                                              IN6_IS_ADDR_MULTICAST(&addr->in6.sin6_addr));
}
