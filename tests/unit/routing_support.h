/* SPDX-License-Identifier: BSD-2-Clause */
/* routing_support: what the tests of the routing layer build their cases from. */
#ifndef ROUTING_SUPPORT_H
#define ROUTING_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mmproxy/routing/wanted/wanted.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static inline struct addr support_addr(const char *text)
{
    struct addr addr = { 0 };

    if (text && text[0] != '\0' && addr_parse(&addr, text))
        fail_msg("not an address: %s", text);
    return addr;
}

static inline struct addr support_host(const char *text)
{
    struct addr addr = { 0 };

    if (addr_parse_host(&addr, text))
        fail_msg("not an address: %s", text);
    return addr;
}

static inline struct listener_config support_listener(enum return_path return_path, const char *v4,
                                                      const char *v6, uint32_t mark, uint32_t table)
{
    return (struct listener_config){
        .return_path = return_path,
        .target_v4.addr = support_addr(v4),
        .target_v6.addr = support_addr(v6),
        .mark = mark,
        .table = table,
    };
}

/* mark 0 is a rule by source. */
static inline struct wanted_item support_item(enum wanted_kind kind, sa_family_t family,
                                              uint32_t mark, uint32_t table)
{
    return (struct wanted_item){
        .kind = kind,
        .family = family,
        .mark = mark,
        .table = table,
    };
}

#endif
