/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * legacy: the rules of iptables-legacy, which nft does not list, as ruleset_find reads rules. Pure:
 * the text of iptables-legacy-save comes in. A condition that is not known here becomes one that
 * ruleset_find does not understand.
 */
#ifndef MMPROXY_ROUTING_WANTED_LEGACY_H
#define MMPROXY_ROUTING_WANTED_LEGACY_H

#include <stdbool.h>
#include <stdio.h>

/* Writes the translation of what iptables-legacy-save, or ip6tables-legacy-save, has printed. */
void legacy_translate(FILE *out, const char *saved, bool is_v6);

#endif
