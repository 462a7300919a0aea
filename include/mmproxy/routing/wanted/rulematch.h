/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rulematch: do the conditions of an nftables rule hold for a packet? For ruleset, which follows
 * the rules. Pure.
 */
#ifndef MMPROXY_ROUTING_WANTED_RULEMATCH_H
#define MMPROXY_ROUTING_WANTED_RULEMATCH_H

#include <stdbool.h>

#include "mmproxy/routing/wanted/ruleset.h"

enum { RULEMATCH_WORD_MAX = 64, RULEMATCH_NAME_MAX = 128 };

enum rulematch { RULEMATCH_NO, RULEMATCH_YES, RULEMATCH_UNKNOWN };

/* Where a rule stands, and whose packet it is asked about. */
struct rulematch_place {
    const struct ruleset *ruleset;
    const char *table; /* "inet filter": where its sets are */
    const struct ruleset_packet *packet;
};

/* What a condition says besides. */
struct rulematch_more {
    bool is_mark_set;    /* it is no condition: it sets another mark */
    const char *verdict; /* of the matching entry of a vmap; NULL: there was no vmap */
};

const char *rulematch_skip_blanks(const char *at);
const char *rulematch_next_line(const char *at);

/* Steps over whole words where the line continues with them. */
bool rulematch_take(const char **at, const char *words);

/* The next word, without quotes and a comma behind it; returns out. */
const char *rulematch_word(const char **at, char out[RULEMATCH_WORD_MAX]);

/* The condition at *at, which is moved behind it. */
enum rulematch rulematch_condition(const char **at, const struct rulematch_place *place,
                                   struct rulematch_more *more);

/* The line behind "set NAME {" or "chain NAME {" of that table; NULL: there is none. */
const char *rulematch_find(const char *text, const char *table, const char *kind, const char *name);

#endif
