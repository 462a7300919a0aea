/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keys: the tables of everything that can be written, one row a key, and the reading of a group by
 * its table: unknown keys and values out of range are reported here. The tables are the only place
 * that knows names, types, ranges and defaults: the file, the command line, suggestions and the
 * manual's test all read them.
 */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include "kinds.h"
#include "mistakes.h"

enum { KEYS_PER_LISTENER_MAX = 40 };

struct key_table {
    const char *section; /* of the manual: "" for the top level */
    const char *home;    /* where its keys are to be written: "at the top level" */
    const struct key *keys;
    size_t n_keys;
};

extern const char *const keys_return_path_words[]; /* in the order of the enum */

extern const struct key_table keys_of_config;   /* fills struct config */
extern const struct key_table keys_of_log;      /* fills struct config */
extern const struct key_table keys_of_included; /* fills nothing: it has lists only */
extern const struct key_table keys_of_listener; /* fills struct listener_config */

/* Facts about a key that was read. All zero: its default was taken. */
struct key_state {
    unsigned line; /* 0 = not written */
    bool is_bad;
};

/* Sets every key that has a default. */
void keys_set_defaults(const struct key_table *table, void *out);

/* returns: the row's number, or -1. */
int keys_find(const struct key_table *table, const char *name);

/*
 * Reads one group into out: unknown keys, wrong types and values out of range are reported.
 * Groups and lists in it are left to the caller. states: NULL, or one for each key.
 * is_defaults: keys that only a listener can have are mistakes.
 */
void keys_read(const struct key_table *table, const config_setting_t *group, void *out,
               struct key_state *states, bool is_defaults, struct mistakes *mistakes);

/* Do the two structures ask for the same by every key of the table? */
bool keys_equal(const struct key_table *table, const void *a, const void *b);

#endif
