/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flows: what return path flows has nftables do, as text. A rule writes down the client's address,
 * its port and the service's port of each datagram that bears our mark; another marks what the
 * service sends back to there. Pure.
 */
#ifndef MMPROXY_ROUTING_WANTED_FLOWS_H
#define MMPROXY_ROUTING_WANTED_FLOWS_H

#include "mmproxy/routing/wanted/wanted.h"

enum {
    FLOWS_SET_MAX = 64,
    FLOWS_TEXT_MAX = 192,
    /* A flow is forgotten that much later than its session, whose clock starts a little later. */
    FLOWS_GRACE_S = 5,
};

/* Before mangle, where replies are marked: a reply must not be taken for a datagram. */
#define FLOWS_RECORD_HOOK "type filter hook output priority mangle - 10"

/* The name of the item's set; mark and timeout stand in it. All return buf. */
const char *flows_set(const struct wanted_item *item, char buf[FLOWS_SET_MAX]);

/* The text between the braces of the set. */
const char *flows_definition(const struct wanted_item *item, char buf[FLOWS_TEXT_MAX]);

/* The two rules, for a chain with FLOWS_RECORD_HOOK and for a chain that routes output anew. */
const char *flows_record_rule(const struct wanted_item *item, char buf[FLOWS_TEXT_MAX]);
const char *flows_mark_rule(const struct wanted_item *item, char buf[FLOWS_TEXT_MAX]);

/* The timeout that a set has by its name, in seconds; 0: it is none of ours. */
unsigned flows_timeout_of(const char *set);

#endif
