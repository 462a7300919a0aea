/* SPDX-License-Identifier: BSD-2-Clause */
/* draft: one listener while it is read, and what can be said about it alone. */
#ifndef CONFIG_DRAFT_H
#define CONFIG_DRAFT_H

#include "keys.h"
#include "mmproxy/config/config.h"

enum {
    DRAFT_ADDRESSES_MAX = 1024,
    DRAFT_UDP_IDLE_MS = 60 * 1000, /* idle_timeout of UDP listeners that do not say */
};

struct peers_list;

/* A key whose value is a file of subnets or an array of them; all NULL: it is missing. */
struct draft_subnets {
    const char *path; /* as written */
    const config_setting_t *array;
    const struct peers_list *list; /* set by peers_load */
};

struct draft {
    struct listener_config config; /* owns listen and endpoints until config_load takes them */
    struct draft_subnets allowed;
    struct draft_subnets direct;
    unsigned line;          /* of the source's text; so are the next two */
    unsigned *listen_lines; /* owned; one for each of listen */
    struct key_state states[KEYS_PER_LISTENER_MAX];
};

/* The built-in defaults, with those of the group "defaults" on top; group may be NULL. */
void draft_read_defaults(struct draft *draft, const config_setting_t *group,
                         struct mistakes *mistakes);

/* Reads one listener; whatever it says, the draft is for draft_close. */
void draft_read(struct draft *draft, const struct draft *defaults, const config_setting_t *group,
                struct mistakes *mistakes);
void draft_close(struct draft *draft);

/* The line that says what this key is: the listener's, that of "defaults", or its brace's. */
unsigned draft_line_of(const struct draft *draft, const char *key);

/* Was the key's value refused? Then nothing is to be concluded from it. */
bool draft_is_bad(const struct draft *draft, const char *key);

/* A session of UDP has no end but silence: its default is not that of TCP. */
void draft_resolve_idle_timeout(struct draft *draft);

#endif
