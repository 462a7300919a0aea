/* SPDX-License-Identifier: BSD-2-Clause */
/* listener: one listener while it is read, and what can be said about it alone. */
#ifndef CONFIG_LISTENER_H
#define CONFIG_LISTENER_H

#include "keys.h"
#include "mmproxy/config/config.h"

enum { LISTENER_ADDRESSES_MAX = 1024 };

struct listener_draft {
    struct listener_config config; /* listen is owned until config_load takes it over */
    const char *allowed_path;      /* as written; NULL where it is missing */
    unsigned line;                 /* of the source's text; so are the next two */
    unsigned *listen_lines;        /* owned; one for each of listen */
    struct key_state states[LISTENER_KEYS_MAX];
};

/* The built-in defaults, with those of the group "defaults" on top; group may be NULL. */
void listener_read_defaults(struct listener_draft *draft, const config_setting_t *group,
                            struct mistakes *mistakes);

/* Reads one listener; whatever it says, the draft is for listener_config_close. */
void listener_read(struct listener_draft *draft, const struct listener_draft *defaults,
                   const config_setting_t *group, struct mistakes *mistakes);
void listener_config_close(struct listener_draft *draft);

/* The line that says what this key is: the listener's, that of "defaults", or its brace's. */
unsigned listener_line_of(const struct listener_draft *draft, const char *key);

/* Was the key's value refused? Then nothing is to be concluded from it. */
bool listener_is_bad(const struct listener_draft *draft, const char *key);

/* Decides what "auto" means for this listener's targets. */
void listener_resolve_return_path(struct listener_config *listener);

#endif
