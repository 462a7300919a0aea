/* SPDX-License-Identifier: BSD-2-Clause */
/* addr: one IPv4 or IPv6 endpoint, address and TCP port together, as a plain value. */
#ifndef MMPROXY_BASE_ADDR_H
#define MMPROXY_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* All zero is "no address" (family AF_UNSPEC). Copied by assignment; no padding is compared. */
struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
};

/* Room for "[IPv6%scope]:65535" and its NUL. */
#define ADDR_STRLEN 72

/* AF_INET, AF_INET6 or AF_UNSPEC. */
static inline sa_family_t addr_family(const struct addr *addr)
{
    return addr->sa.sa_family;
}

static inline bool addr_is_set(const struct addr *addr)
{
    return addr->sa.sa_family != AF_UNSPEC;
}

/* Length for bind(2) and connect(2); 0 for "no address". */
socklen_t addr_len(const struct addr *addr);

/* In host byte order; 0 for "no address". */
uint16_t addr_port(const struct addr *addr);
void addr_set_port(struct addr *addr, uint16_t port);

/* The address's bytes in network order: 4 or 16 of them, by the family. */
const uint8_t *addr_bytes(const struct addr *addr);

/* From network-order bytes: family AF_INET takes 4, AF_INET6 takes 16. */
void addr_from_bytes(struct addr *out, sa_family_t family, const uint8_t *bytes, uint16_t port);

/*
 * Parses "ADDR:PORT" or "[ADDR6]:PORT", numeric only, port 1 to 65535.
 * returns: NULL, or the reason as a static string ("port is not a number from 1 to 65535").
 */
const char *addr_parse(struct addr *out, const char *text);

/* Parses "ADDR" or "ADDR6" with no port (port 0); returns as addr_parse. */
const char *addr_parse_host(struct addr *out, const char *text);

/* Writes "ADDR:PORT" or "[ADDR6]:PORT", "-" for "no address"; returns buf. */
const char *addr_format(const struct addr *addr, char buf[ADDR_STRLEN]);

/* Writes the address alone, without brackets; returns buf. */
const char *addr_format_host(const struct addr *addr, char buf[ADDR_STRLEN]);

/* Turns ::ffff:a.b.c.d into a.b.c.d, port kept; leaves any other address as it is. */
void addr_unmap(struct addr *addr);

/* Same family, address, scope and port. */
bool addr_equal(const struct addr *a, const struct addr *b);

/* An order of addresses: by family, address, scope, port. returns: below, at or above 0. */
int addr_compare(const struct addr *a, const struct addr *b);

/* Same family and address; port and scope do not count. */
bool addr_equal_host(const struct addr *a, const struct addr *b);

/* 127.0.0.0/8 or ::1. */
bool addr_is_loopback(const struct addr *addr);

/*
 * True for what a service would take for its own host or for no address, on any host:
 * loopback, unspecified (0.0.0.0/8, ::), multicast, 255.255.255.255. Unmap first.
 */
bool addr_is_local_claim(const struct addr *addr);

#endif
